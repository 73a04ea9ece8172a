"""The steps that sluice has: one module each."""
