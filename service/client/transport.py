"""The way to the service: upgrades to WebSockets, and the one request that goes by plain HTTP."""

import asyncio
import socket
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import orjson
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, ClientWebSocketResponse, ClientWSTimeout
from yarl import URL

from .backoff import Advice, advice_of_status
from .connection import Connection
from .errors import Disconnected, Refused

__all__ = ["Transport", "Unreachable", "Unusable"]

_HANDSHAKE: Final = 10.0
"""Seconds for an attempt to connect, with the name's resolution and the upgrade."""
_POST: Final = 60.0
"""Seconds for a batch to be sent and accepted; its repetition joins it."""
_UNACKNOWLEDGED: Final = 20_000
"""Milliseconds until something that was sent has to be acknowledged."""
_LARGEST: Final = 128 << 20
"""Bytes of one frame: a result may carry a body of 64 MiB, in base64."""
_SCHEMES: Final = {"ws": "http", "wss": "https"}


class Unreachable(Exception):
    """It did not work this time, and is tried again; ``retry_after`` is in seconds."""

    def __init__(self, why: object, retry_after: float | None = None) -> None:
        # aiohttp's own text is what it had read of the answer.
        ended = isinstance(why, aiohttp.ServerDisconnectedError)
        super().__init__("the connection ended before an answer" if ended else str(why) or type(why).__name__)
        self.retry_after = retry_after


class Transport:
    """A service's address and the credentials for it."""

    def __init__(self, url: str) -> None:
        if not isinstance(url, str):
            raise TypeError(f"url: a text is expected, not {type(url).__name__}")
        # As it was given, where it can be: a signature in the query may depend on it.
        address = URL(url, encoded=url.isascii() and url.isprintable() and " " not in url)
        if address.scheme not in ("http", "https", "ws", "wss") or not address.host:
            raise ValueError(f"url: {url!r} is not an address that begins with http://, https://, ws:// or wss://")
        self._url = address.with_scheme(_SCHEMES.get(address.scheme, address.scheme)).with_fragment(None)
        self._base = self._url.raw_path.rstrip("/").removesuffix("/ws").rstrip("/")
        self._session: aiohttp.ClientSession

    def __repr__(self) -> str:
        return f"<Transport {self._url.with_query(None)}>"

    def open(self) -> None:
        """Make what needs a running loop."""
        timeout = aiohttp.ClientTimeout(total=_POST, connect=_HANDSHAKE)
        self._session = aiohttp.ClientSession(timeout=timeout, middlewares=(_straight,))

    async def close(self) -> None:
        """Release it."""
        await self._session.close()

    def _at(self, path: str) -> URL:
        # A query stays: proxies may choose an instance by it.
        return self._url.with_path(self._base + path, encoded=True, keep_query=True)

    async def connect(self, token: str | None) -> Connection:
        """Return a connection; raises Unreachable, or Disconnected where trying again does not help."""
        opened: ClientWebSocketResponse[bool]
        try:
            async with asyncio.timeout(_HANDSHAKE):
                opened = await self._session.ws_connect(
                    self._at("/ws"),
                    protocols=("sluice.v1",),
                    headers=_bearer(token),
                    autoping=False,
                    max_msg_size=_LARGEST,
                    decode_text=False,
                    timeout=ClientWSTimeout(ws_close=2.0),
                )
        except aiohttp.WSServerHandshakeError as error:
            why = _instead(error)
            if advice_of_status(error.status) is Advice.FIXED:
                raise Disconnected(error.status, why) from None
            raise Unreachable(f"{error.status} {why}", _retry_after(error.headers)) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(error) from None
        except ValueError as error:
            raise Unusable(str(error)) from None
        _end_unacknowledged(opened)
        return Connection(opened)

    async def post_batch(self, body: bytes, key: str, token: str | None) -> dict[str, Any]:
        """Begin a batch that runs with or without readers, once for each key.

        Raises Unreachable, or Refused where trying again does not help.
        """
        headers = {**_bearer(token), "Content-Type": "application/json", "Prefer": "respond-async",
                   "Idempotency-Key": key}  # fmt: skip
        try:
            async with self._session.post(self._at("/fetch-batch"), data=body, headers=headers) as answer:
                text = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unreachable(error) from None
        if answer.status == 202:
            return _document(text)
        if advice_of_status(answer.status) is Advice.LATER:
            raise Unreachable(f"{answer.status} {answer.reason}", _retry_after(answer.headers))
        raise _refusal(answer.status, text)


def _end_unacknowledged(connection: ClientWebSocketResponse[bool]) -> None:
    """Have the kernel end the connection where what was sent is not acknowledged, as behind a NAT that forgets."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux alone has it; elsewhere silence is noticed later
    if option is not None and (made := connection.get_extra_info("socket")) is not None:
        made.setsockopt(socket.IPPROTO_TCP, option, _UNACKNOWLEDGED)


class Unusable(Exception):
    """The token or the address cannot be sent at all."""


async def _straight(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """Follow no redirection: browsers follow none of a WebSocket either, and a token is meant for one address."""
    answer = await handler(request)
    if 300 <= answer.status < 400:
        answer.close()
        raise Unreachable(f"{answer.status} {answer.reason}", _retry_after(answer.headers))
    return answer


def _instead(error: aiohttp.WSServerHandshakeError) -> str:
    """Say what an answer without an upgrade means: aiohttp calls each of them an invalid status."""
    if error.status == 101:
        return error.message
    phrase = HTTPStatus(error.status).phrase if error.status in set(HTTPStatus) else "no known status"
    if error.status == 426:
        return f"{phrase}: a proxy on the way may not forward Upgrade and Connection"
    return phrase if error.status >= 300 else f"{phrase}: something on the way answers in place of the service"


def _bearer(token: str | None) -> dict[str, str]:
    if not token:
        return {}
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise Unusable("the token has characters that no header can carry")
    return {"Authorization": f"Bearer {token}"}


def _document(text: bytes) -> dict[str, Any]:
    """Read the answer to a batch; what stands between may answer something else."""
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Unreachable(f"the answer is not JSON: {error}") from None
    if not isinstance(document, dict) or "topic" not in document:
        raise Unreachable("the answer is not that of a batch")
    return document


def _retry_after(headers: Any) -> float | None:
    """Return the seconds of a Retry-After (RFC 9110, section 10.2.3); a date counts from the answer's own."""
    value = (headers or {}).get("Retry-After", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    date, now = _date(value), _date(headers.get("Date", "")) if headers else None
    if date is None:
        return None
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _refusal(status: int, text: bytes) -> Refused:
    """Read a problem document; what stands between may answer something else."""
    try:
        return Refused.read_problem(orjson.loads(text))
    except (orjson.JSONDecodeError, AttributeError):
        return Refused("internal", f"HTTP status {status}")
