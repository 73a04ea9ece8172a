"""Servers to which messages are POSTed, with any way to their readers."""

from typing import TYPE_CHECKING, ClassVar

from loadtest.endpoint import Endpoint, in_path
from loadtest.sockets import ConnectFailed, Socket
from loadtest.targets.base import Target

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Posting"]


class Posting(Target):
    """Messages are POSTed to ``--publish-path``: over one connection, so that they keep their order."""

    PUBLISH_PATH: ClassVar[str] = "/publish?topic={topic}"
    CAN: ClassVar[frozenset[str]] = frozenset({"connect", "idle", "churn", "broadcast", "slow-readers", "capacity"})

    def __init__(self, endpoint: Endpoint) -> None:
        super().__init__(endpoint)
        self._session: aiohttp.ClientSession | None = None

    async def publish(self, socket: Socket, topic: str, data: bytes) -> int | None:
        """POST it; any 2xx is an answer."""
        import aiohttp  # not before: it takes half of a worker's start, and most targets do without

        if self._session is None:
            connector = aiohttp.TCPConnector(limit=1, ssl=self.endpoint.tls or True)
            headers = {"Content-Type": "application/json"}
            self._session = aiohttp.ClientSession(connector=connector, headers=headers)
        path = in_path(self.options.publish_path or self.PUBLISH_PATH, topic)
        try:
            async with self._session.post(
                self.endpoint.url(path), data=data, headers=self.endpoint.fields,
                server_hostname=self.endpoint.http_server_name,
                # A redirect would show the credentials to another server.
                allow_redirects=False,
            ) as answer:  # fmt: skip
                if not 200 <= answer.status < 300:
                    raise ConnectFailed(f"publish: {answer.status} {answer.reason}")
                await answer.read()
        except aiohttp.ClientError as error:
            raise ConnectFailed(f"publish: {error or type(error).__name__}") from None
        return None

    async def close(self) -> None:
        """Close the publisher's connection."""
        if self._session is not None:
            await self._session.close()
