"""The process of a slot from the service's side: one function at a time, its output, and its end."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from service.jobs.slot_messages import (
    END,
    HEAD,
    Ask,
    Described,
    Ended,
    Reported,
    Stop,
    Stored,
    decode,
    encode,
    length_of,
)
from service.runtime.child_process import environment

__all__ = ["SlotGone", "SlotProcess", "SlotUnusable"]

_MODULE: Final = "service.jobs.slot"
_START: Final = 30.0
"""Seconds until a new process is ready."""
GRACE: Final = 10.0
"""Seconds that a function has to stop before its process is killed."""
_OUTPUT: Final = 16 << 10
"""Bytes of output that are kept, the newest."""
_LATE: Final = 1.0
_PAUSE: Final = 0.02
"""Seconds between two reads of much output: a function that prints for ever waits, and nobody else does."""


Report = Callable[[dict[str, Any]], Awaitable[None]]


class SlotGone(Exception):
    """The process has ended, or could not be started."""


class SlotUnusable(Exception):
    """The module cannot be imported; the text is one line."""


class SlotProcess:
    """One process; made by :meth:`start`."""

    def __init__(self, process: Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.functions: dict[str, tuple[int | None, float | None]] = {}
        """Retries and timeout of each registered function, by name."""
        self._process = process
        self._reader = reader
        self._writer = writer
        self.grace = GRACE
        self._length: int | None = None
        """Of a frame whose beginning was read, and no more of it."""
        self._output = bytearray()
        self._complete = asyncio.Event()
        """Whether all is here that the function has printed."""
        self._printing = asyncio.get_running_loop().create_task(self._read_output(), name="job")

    def __repr__(self) -> str:
        return f"<SlotProcess {self._process.pid}>"

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @classmethod
    async def start(cls, module: str, memory: int) -> "SlotProcess":
        """Start a process and wait until it is ready; raises SlotGone, and SlotUnusable with what is wrong."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-u", "-m", _MODULE, str(theirs.fileno()), str(memory), module,
                    env=environment(),
                    stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, pass_fds=(theirs.fileno(),), start_new_session=True,
                )  # fmt: skip
        except BaseException as error:
            ours.close()
            if isinstance(error, OSError):
                raise SlotGone(f"a process cannot be started: {error.strerror}") from error
            raise
        slot = cls(process, *await asyncio.open_connection(sock=ours))
        try:
            async with asyncio.timeout(_START):
                described = await slot._read()
        except TimeoutError:
            await slot.kill()
            raise SlotGone(f"a process was not ready within {_START:g} s") from None
        except BaseException:
            await slot.kill()
            raise
        if not isinstance(described, Described) or described.wrong is not None:
            await slot.kill()
            raise SlotUnusable(getattr(described, "wrong", None) or "it did not say what functions there are")
        slot.functions = described.functions
        return slot

    async def run(self, asked: Ask, report: Report) -> Ended:
        """Run a function; raises SlotGone.

        Where this is cancelled the function is asked to stop, and its process ends, after ``grace`` s at the
        latest.
        """
        self._output.clear()
        self._complete.clear()
        try:
            await self._send(asked)
            return await self._until_ended(report)
        except asyncio.CancelledError:
            await self._stop(report)
            raise

    async def _until_ended(self, report: Report) -> Ended:
        while True:
            message = await self._read()
            if isinstance(message, Ended):
                await self._printed()
                return message
            if isinstance(message, Reported):
                await report(message.progress)
                await self._send(Stored())

    async def _printed(self) -> None:
        """Wait a moment for the end of what the function has printed: it comes another way."""
        try:
            async with asyncio.timeout(_LATE):
                await self._complete.wait()
        except TimeoutError:
            return  # it has closed its output

    async def _stop(self, report: Report) -> None:
        """Ask a function to stop, and end its process."""
        try:
            async with asyncio.timeout(self.grace):
                await self._send(Stop())
                await self._until_ended(report)
        except (TimeoutError, SlotGone):
            return
        finally:
            await self.kill()

    async def _send(self, message: Ask | Stop | Stored) -> None:
        try:
            self._writer.write(encode(message))
            await self._writer.drain()
        except OSError as error:
            raise await self._gone() from error

    async def _read(self) -> Any:
        try:
            if self._length is None:
                self._length = length_of(await self._reader.readexactly(HEAD))
            frame = await self._reader.readexactly(self._length)
            self._length = None
            return decode(frame)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise await self._gone() from error

    async def _gone(self) -> SlotGone:
        """Say how the process has ended."""
        await self.kill()
        code = self._process.returncode or 0
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return SlotGone(f"the process ended {how}")

    @property
    def output(self) -> str:
        """What the function has printed: the newest 16 KiB."""
        return self._output.decode(errors="replace")

    async def _read_output(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        while piece := await stream.read(_OUTPUT):
            self._output += piece
            if (end := self._output.rfind(END)) >= 0:
                del self._output[end : end + len(END)]
                self._complete.set()
            del self._output[:-_OUTPUT]
            if len(piece) > _OUTPUT // 4:
                await asyncio.sleep(_PAUSE)

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.returncode is not None

    async def kill(self) -> None:
        """End the process with all that it has started, and return when it is gone."""
        self._writer.close()
        with suppress(ProcessLookupError):  # it is gone already
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        self._printing.cancel()
        await asyncio.gather(self._printing, return_exceptions=True)
