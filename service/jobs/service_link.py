"""The service as a worker reaches it: over HTTP, with the token of the attempt."""

import ssl
from typing import Any, Final, TypeVar

import aiohttp
import msgspec

from service.core.jobs.reports import Claim, Claimed, Reported
from service.jobs.broker import TaskMessage
from service.jobs.outbox import AttemptRefused, ServiceUnreachable

__all__ = ["HttpLink"]

T = TypeVar("T")
_TIME: Final = 8.0
"""Seconds for an answer: within a lease."""
_FINAL: Final = frozenset({400, 401, 403, 404, 409, 413, 415, 422})
"""Statuses after which the same request is refused again."""
_UNKNOWN: Final = frozenset({401, 403, 404})
"""Statuses of a server that has not offered the attempt."""


class HttpLink:
    """One connection to a service, for one attempt; it is closed at the end of the block."""

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        self._url = url.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=tls if tls is not None else True, limit=1),
            timeout=aiohttp.ClientTimeout(total=_TIME),
        )

    def __repr__(self) -> str:
        return f"<HttpLink to {self._url}>"

    async def __aenter__(self) -> "HttpLink":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    async def claim(self, task: TaskMessage, claim: Claim) -> Claimed:
        """Ask for an attempt."""
        return await self._ask(task, "claim", msgspec.json.encode(claim), Claimed)

    async def report(self, task: TaskMessage, body: bytes) -> Reported:
        """Send a report."""
        return await self._ask(task, "events", body, Reported)

    async def _ask(self, task: TaskMessage, act: str, body: bytes, kind: type[T]) -> T:
        url = f"{self._url}/jobs/{task.job}/attempts/{task.attempt}/{act}"
        headers = {"Authorization": f"Bearer {task.token}", "Content-Type": "application/json"}
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                text = await answer.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise ServiceUnreachable(str(error) or type(error).__name__) from error
        if answer.status in _FINAL:
            raise AttemptRefused(_detail(answer.status, text), unknown=answer.status in _UNKNOWN)
        if answer.status != 200:
            raise ServiceUnreachable(_detail(answer.status, text))
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.DecodeError as error:
            raise ServiceUnreachable(
                f"the server there is not sluice, or another version of it: {error}"
            ) from error


def _detail(status: int, text: bytes) -> str:
    """Return what a problem document says."""
    try:
        problem: Any = msgspec.json.decode(text)
        return f"{status}: {problem['detail']}"
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"status {status}"
