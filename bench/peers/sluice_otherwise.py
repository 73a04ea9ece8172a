"""sluice with one decision taken otherwise: ``slice=N`` readers a slice, or ``writes=transport``."""

import sys
from dataclasses import replace

from service import app
from service.__main__ import main
from service.config import limits
from service.config.settings import Settings
from service.core.topics.hub import HubLimits
from service.edge.websocket import connection

name, _, value = sys.argv.pop(1).partition("=")
if name == "slice":
    ours = limits.hub_limits

    def sliced(settings: Settings) -> HubLimits:
        return replace(ours(settings), slice_readers=int(value))

    app.hub_limits = sliced  # type: ignore[attr-defined]
elif name == "writes":
    made = connection.Connection.__init__

    def through_transport(self: connection.Connection, *arguments: object) -> None:
        made(self, *arguments)  # type: ignore[arg-type]
        self._direct = None

    connection.Connection.__init__ = through_transport  # type: ignore[method-assign, assignment]
sys.exit(main())
