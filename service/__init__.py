"""The service: one event loop between the web and ten thousand sockets."""

__version__ = "0.1.0"
