"""Pipelines over WebSocket and HTTP."""
