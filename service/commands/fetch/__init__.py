"""``sluice fetch``: a batch from the terminal, by the engine of the service, without a server."""

from service.commands.fetch.command import fetch
from service.commands.fetch.options import add_options

__all__ = ["add_options", "fetch"]
