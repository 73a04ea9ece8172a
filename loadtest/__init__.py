"""The load generator: it knows the wire contract and nothing of the service."""
