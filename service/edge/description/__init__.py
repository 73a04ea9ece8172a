"""The documents that describe the service: OpenAPI and AsyncAPI."""
