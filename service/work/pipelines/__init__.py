"""Pipelines: items that go through stages, each bounded, in order."""
