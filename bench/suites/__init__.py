"""Conformance suites that other people wrote, run against the service."""
