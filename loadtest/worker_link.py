"""A worker's line to the supervisor and, through it, to the other workers: JSON, a line each."""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

import orjson

__all__ = ["LINE", "WorkerLink", "read_line", "standard_pipes"]

LINE = 256 << 20
"""The longest line: what ten thousand clients add up to at the end of a long run."""


async def read_line(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Return the next message, or None at the end."""
    line = await reader.readline()
    message: dict[str, Any] | None = orjson.loads(line) if line.endswith(b"\n") else None
    return message


class WorkerLink:
    """One of ``count`` workers that share a plan: ``index`` says which. Parts of a plan talk over the same line.

    Messages up: ``tick share meet outcome phase note cannot``; down: ``facts met stop``.
    """

    def __init__(self, index: int, count: int, write: Callable[[bytes], None], name: str = "") -> None:
        self.index = index
        self.count = count
        self.on_facts: Callable[[Any], None] = lambda facts: None
        self.on_stop: Callable[[], None] = lambda: None
        """Called when the supervisor wants an end, or is gone."""
        self._name = name
        self._write = write
        self._meetings: dict[str, asyncio.Future[list[Any]]] = {}
        self._parts: dict[str, WorkerLink] = {name: self}

    def part(self, name: str) -> "WorkerLink":
        """Return the link of one part of the plan."""
        part = self._parts[name] = WorkerLink(self.index, self.count, self._write, name)
        part._meetings = self._meetings
        return part

    def send(self, kind: str, value: Any) -> None:
        """Send a message of one kind."""
        self._write(orjson.dumps({kind: value}) + b"\n")

    def share(self, facts: Any) -> None:
        """Send facts to all other workers."""
        if self.count > 1:
            self.send("share", [self._name, facts])

    async def meet(self, name: str, facts: Any = None) -> list[Any]:
        """Wait until all workers are at ``name``; return what each of them brought, in their order."""
        name = f"{self._name} {name}".strip()
        meeting = self._meetings[name] = asyncio.get_running_loop().create_future()
        self.send("meet", [name, facts])
        try:
            met: list[Any] = await meeting
            return met
        finally:
            self._meetings.pop(name, None)

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Take what the supervisor sends, until it is gone."""
        while (message := await read_line(reader)) is not None:
            if "facts" in message:
                name, facts = message["facts"]
                self._parts[name].on_facts(facts)
            elif "met" in message:
                name, facts = message["met"]
                meeting = self._meetings.get(name)
                if meeting is not None and not meeting.done():
                    meeting.set_result(facts)
            elif "stop" in message:
                self.on_stop()
        self.on_stop()


async def standard_pipes() -> tuple[asyncio.StreamReader, asyncio.WriteTransport]:
    """Return standard input as a reader and standard output as a transport; what is printed goes to the errors."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb"))
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, out)
    sys.stdout = sys.stderr
    return reader, transport
