"""Clients that read a stream over HTTP: server-sent events, or a JSON document a line."""

import asyncio
import re
from time import monotonic
from typing import ClassVar, cast

from loadtest.body import ArrivingBody, BadBody
from loadtest.sockets import ConnectFailed, Socket
from loadtest.upgrade import LONGEST

__all__ = ["EventStream", "LineStream", "Stream"]

_STATUS = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})(?: (.*))?")
_LARGEST = 64 << 20
_PARTIAL = b"\x00"
"""What ``rest`` has while an item is not whole: a read that is known may not be taken by itself then."""


class Stream(Socket):
    """One reader of a stream; it sends nothing after its request. ``on_text`` gets items that are not messages."""

    __slots__ = ("_body", "_text")

    ACCEPT: ClassVar[str]
    END: ClassVar[re.Pattern[bytes]]
    """What stands between two items."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        self.transport = cast("asyncio.Transport", transport)
        self._body: ArrivingBody | None = None
        self._text = b""
        assert self._request is not None
        path, headers = self._request
        given = {name.lower() for name, _ in headers}
        ours = (("Host", self._endpoint.authority), ("Accept", self.ACCEPT), ("Cache-Control", "no-store"))
        fields = (*((name, value) for name, value in ours if name.lower() not in given), *headers)
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
        self.transport.write("\r\n".join(lines).encode())

    def send(self, text: bytes) -> None:
        """Refuse: a stream has one direction."""
        raise ConnectFailed("a stream over HTTP cannot be written to")

    def close(self) -> None:
        """End the connection."""
        self.abort()

    def data_received(self, data: bytes, now: float = 0.0) -> None:
        """Take a read."""
        if self._body is None:
            head, found, data = (self.rest + data).partition(b"\r\n\r\n")
            self.rest = b"" if found else head
            if not found and len(head) <= LONGEST:
                return
            self._begin(head if found else b"")
        if self._body is not None and not self.closed and data:
            self._read(self._body, data, now or monotonic())

    def _begin(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        status = _STATUS.fullmatch(first)
        split = (line.partition(b":") for line in lines)
        fields = {name.strip().lower(): value.strip().decode("latin-1") for name, _, value in split}
        kind = fields.get(b"content-type", "")
        if status is None or status[1] != b"200":
            self._fail(f"refused: {first[9:80].decode('latin-1') or 'the answer is not HTTP'}")
        elif kind.partition(";")[0].strip().lower() not in self.ACCEPT.split(", "):
            self._fail(f"refused: the answer is {kind or 'of no type'}, and not {self.ACCEPT}")
        else:
            self._body = ArrivingBody(fields.get(b"transfer-encoding", "").lower() == "chunked")
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(None)

    def _read(self, body: ArrivingBody, data: bytes, now: float) -> None:
        whole = not self.rest
        try:
            items = self._items(body.feed(data))
        except BadBody as error:
            self.why = f"the server sent {error}"
            self._fail(self.why)
            return
        self.rest = b"" if body.between_chunks and not self._text else _PARTIAL
        run = self._run(items) if whole and not self.rest else None
        if run is not None and self.on_run is not None:
            self._reads.keep(data, run)
            self.on_run(*run, now)
        else:
            for item in items:
                self._message(item)
        if body.ended and self.transport is not None:
            self.why = "the server ended the stream"
            self.transport.close()

    def _items(self, text: bytes) -> list[bytes]:
        """Return the whole items of what has come, and keep the beginning of the next."""
        *items, rest = self.END.split(self._text + text)
        # The other half of a line end that was cut in two.
        self._text = rest.lstrip(b"\r\n")
        if len(self._text) > _LARGEST:
            raise BadBody(f"an item of more than {_LARGEST >> 20} MiB")
        return [item for item in items if item]

    def _run(self, items: list[bytes]) -> tuple[int, int] | None:
        """Return (first number, count) where items are consecutive messages and nothing else."""
        if self.on_run is None or not items:
            return None
        first = self._reads.number(items[0])
        if first is None:
            return None
        for place, item in enumerate(items):
            number = self._reads.number(item)
            if number is None or not self._reads.is_plain(item, number, first, place):
                return None
        return first, len(items)


class EventStream(Stream):
    """Server-sent events (HTML standard, 9.2)."""

    ACCEPT = "text/event-stream"
    END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
    __slots__ = ()


class LineStream(Stream):
    """A JSON document a line."""

    ACCEPT = "application/x-ndjson, application/jsonl, application/json-lines, application/stream+json"
    END = re.compile(rb"\r?\n")
    __slots__ = ()
