"""The hooks for schemathesis."""
