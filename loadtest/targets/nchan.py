"""nginx with the module Nchan: publishers POST, subscribers have a WebSocket for each channel."""

from typing import ClassVar
from urllib.parse import quote

import aiohttp

from loadtest.endpoint import Endpoint
from loadtest.sockets import ConnectFailed, Socket
from loadtest.targets.base import Target

__all__ = ["Nchan"]


class Nchan(Target):
    """Channels at ``/sub?id=TOPIC`` and ``/pub?id=TOPIC``, as in Nchan's own examples."""

    HELP = "nginx with Nchan: subscribers at /sub?id=TOPIC, publishers at /pub?id=TOPIC"
    PATH = "/sub?id={topic}"
    CAN: ClassVar[frozenset[str]] = frozenset({"connect", "idle", "churn", "broadcast", "slow-readers", "capacity"})

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._session: aiohttp.ClientSession | None = None

    async def publish(self, socket: Socket, topic: str, data: bytes) -> int | None:
        """POST to the channel: over one connection, so that messages keep their order."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=1, ssl=self.endpoint.tls or True)
            self._session = aiohttp.ClientSession(connector=connector, headers=self.endpoint.fields)
        try:
            async with self._session.post(f"{self.endpoint.base}/pub?id={quote(topic)}", data=data) as answer:
                if answer.status not in (201, 202):
                    raise ConnectFailed(f"publish: {answer.status} {answer.reason}")
        except aiohttp.ClientError as error:
            raise ConnectFailed(f"publish: {error}") from None
        return None

    async def close(self) -> None:
        """Close the publisher's connection."""
        if self._session is not None:
            await self._session.close()
