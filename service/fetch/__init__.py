"""``sluice fetch``: a batch from the terminal, by the engine of the service, without a server."""

from service.fetch.command import fetch
from service.fetch.options import add_options

__all__ = ["add_options", "fetch"]
