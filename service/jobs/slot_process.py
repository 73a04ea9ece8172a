"""The process of a slot from the service's side: one function at a time, its output, and its end."""

import asyncio
import os
import signal
import socket
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, Final

import msgspec

from service.jobs.slot_messages import (
    HEAD,
    Ask,
    Described,
    Ended,
    ProgressReported,
    ProgressStored,
    Stop,
    decode,
    encode,
    length_of,
)
from service.jobs.slot_output import SlotOutput
from service.runtime.containment import end_task
from service.runtime.python_path import command, environment

__all__ = ["GRACE", "ProgressSink", "SlotGone", "SlotProcess", "SlotUnusable"]

_MODULE: Final = "service.jobs.slot"
_START: Final = 30.0
"""Seconds until a new process is ready."""
GRACE: Final = 10.0
"""Seconds that a function has to stop before its process is killed."""
_LAST: Final = 0.1
"""Seconds in which the end of a process is known, and all that it has said before."""


ProgressSink = Callable[[dict[str, Any]], Awaitable[None]]


class SlotGone(Exception):
    """The process has ended, or could not be started."""


class SlotUnusable(Exception):
    """The module cannot be imported; the text is one line."""


class SlotProcess:
    """One process; made by :meth:`start`."""

    def __init__(
        self, process: Process, output: SlotOutput, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.functions: dict[str, tuple[int | None, float | None]] = {}
        """Retries and timeout of each registered function, by name."""
        self._process = process
        self._output = output
        self._reader = reader
        self._writer = writer
        self.grace = GRACE
        self._length: int | None = None
        """The length of a frame of which only the head was read; None between frames."""
        self.spoilt = False
        """Whether a function has left the process in a state in which the next one may fail or cannot print."""
        self._watching = asyncio.get_running_loop().create_task(self._watch(), name="job process")

    def __repr__(self) -> str:
        return f"<SlotProcess {self._process.pid}>"

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @classmethod
    async def start(cls, module: str, memory: int) -> "SlotProcess":
        """Start a process and wait until it is ready; raises SlotGone, and SlotUnusable with what is wrong."""
        try:
            slot = await cls._begin(module, memory)
        except OSError as error:
            raise SlotGone(f"a process cannot be started: {error.strerror}") from error
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

    @classmethod
    async def _begin(cls, module: str, memory: int) -> "SlotProcess":
        """Start a process; if this raises, nothing is left open."""
        async with AsyncExitStack() as opened:
            output, printing = SlotOutput.open()
            opened.push_async_callback(output.close)
            with os.fdopen(printing, "wb", 0):
                ours, theirs = socket.socketpair()
                opened.callback(asyncio.get_running_loop().call_soon, ours.close)  # after a transport that has it
                with theirs:
                    process = await asyncio.create_subprocess_exec(
                        *command(_MODULE, str(theirs.fileno()), str(memory), module, options=["-u"]),
                        env=environment(), stdin=DEVNULL, stdout=printing, stderr=STDOUT,
                        pass_fds=(theirs.fileno(),), start_new_session=True,
                    )  # fmt: skip
            opened.push_async_callback(_end, process)
            reader, writer = await asyncio.open_connection(sock=ours)
            opened.pop_all()
        return cls(process, output, reader, writer)

    async def run(self, asked: Ask, report: ProgressSink) -> Ended:
        """Run a function; raises SlotGone.

        Where this is cancelled the function is asked to stop, and its process ends, after ``grace`` s at the
        latest.
        """
        self._output.clear()
        try:
            await self._send(asked)
            return await self._until_ended(report)
        except asyncio.CancelledError:
            await self._stop(report)
            raise
        except Exception:
            await self.kill()  # it still runs the function: the next one would be given its result
            raise

    async def _until_ended(self, report: ProgressSink) -> Ended:
        while True:
            message = await self._read()
            if isinstance(message, Ended):
                self.spoilt = not await self._output.complete() or message.spoilt
                return message
            if isinstance(message, ProgressReported):
                await report(message.progress)
                await self._send(ProgressStored())

    async def _stop(self, report: ProgressSink) -> None:
        """Ask a function to stop, and end its process."""
        try:
            async with asyncio.timeout(self.grace):
                await self._send(Stop())
                await self._until_ended(report)
        except (TimeoutError, SlotGone):
            return
        finally:
            await self.kill()

    async def _send(self, message: Ask | Stop | ProgressStored) -> None:
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
        except (ValueError, msgspec.MsgspecError) as error:
            await self.kill()
            raise SlotGone("a function has written to the socket of its process") from error

    async def _watch(self) -> None:
        """End the connection when the process has ended: what a function has forked may hold its other end open."""
        await self._process.wait()
        await asyncio.sleep(_LAST)
        self._writer.transport.abort()

    async def _gone(self) -> SlotGone:
        """Say how the process has ended, or is about to."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST):
                await self._process.wait()
        await self.kill()
        code = self._process.returncode or 0
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return SlotGone(f"the process ended {how}")

    @property
    def output(self) -> str:
        """What the function has printed: the newest 16 KiB."""
        return self._output.text

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.returncode is not None

    async def kill(self) -> None:
        """End the process with all that it has started, and return when it is gone."""
        self._writer.close()
        await _end(self._process)
        await self._output.close()
        await end_task("the process of a job could not be watched", self._watching)


async def _end(process: Process) -> None:
    """End a process with all that it has started, and return when it is gone."""
    with suppress(ProcessLookupError):  # it is gone already
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
