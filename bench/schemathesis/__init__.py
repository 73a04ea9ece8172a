"""What schemathesis is told."""
