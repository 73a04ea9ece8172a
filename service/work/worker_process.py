"""A worker process from the service's side."""

import asyncio
import os
import signal
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Final

import msgspec

from service.runtime.awaiting import readable
from service.runtime.python_path import command, environment
from service.runtime.threads import call_in_thread
from service.work.errands import Errand, ErrandResult, MemoryFile, pack, receive, send, unpack

__all__ = ["WorkerGone", "WorkerProcess"]

_MODULE: Final = "service.work.worker"
_START: Final = 30.0
"""Seconds until a new process is ready."""
_SMALL: Final = 1 << 20
"""Bytes that are copied on the loop, in 0.2 ms; more in a thread."""


class WorkerGone(Exception):
    """The process has ended, or could not be started."""


class WorkerProcess:
    """One process; it carries out one errand at a time."""

    def __init__(self, process: Process, connection: socket.socket) -> None:
        self._process = process
        self._connection = connection

    def __repr__(self) -> str:
        return f"<WorkerProcess {self._process.pid}>"

    @classmethod
    async def start(cls, modules: Sequence[str], memory: int) -> "WorkerProcess":
        """Start a process and wait until it is ready; raises WorkerGone."""
        try:
            worker = await cls._begin(modules, memory)
        except OSError as error:
            raise WorkerGone(f"a process cannot be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(_START):
                await worker._answer()
        except TimeoutError:
            worker.kill()
            await worker.wait()
            raise WorkerGone(f"a process was not ready within {_START:g} s") from None
        except BaseException:
            worker.kill()
            await worker.wait()
            raise
        return worker

    @classmethod
    async def _begin(cls, modules: Sequence[str], memory: int) -> "WorkerProcess":
        """Start a process; raises OSError, and then it has left nothing open."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with ExitStack() as opened:
            opened.callback(ours.close)
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *command(_MODULE, str(theirs.fileno()), str(memory), *modules),
                    env=environment(), stdin=DEVNULL, stdout=DEVNULL, pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )  # fmt: skip
            opened.pop_all()
        return cls(process, ours)

    async def carry_out(self, errand: Errand, body: bytes | memoryview) -> tuple[ErrandResult, MemoryFile]:
        """Return the answer with its bytes; raises WorkerGone; after any other exception, kill the process."""
        try:
            descriptor = pack([body]) if len(body) <= _SMALL else await call_in_thread(None, pack, [body])
        except OSError as error:
            raise WorkerGone(f"a process cannot be given the body: {error.strerror}") from error
        try:
            send(self._connection, errand, descriptor)
        except OSError as error:
            raise WorkerGone(f"a process has ended: {error.strerror}") from error
        finally:
            os.close(descriptor)
        return await self._answer()

    async def _answer(self) -> tuple[ErrandResult, MemoryFile]:
        await readable(self._connection)
        try:
            datagram, descriptor = receive(self._connection)
        except OSError as error:
            raise WorkerGone(f"a process has ended: {error.strerror}") from error
        if not datagram:
            raise WorkerGone("a process has ended unexpectedly")
        if descriptor < 0:
            raise WorkerGone("an answer cannot be taken: too many open files")
        try:
            contents = unpack(descriptor)
        except OSError as error:
            raise WorkerGone(f"an answer cannot be read: {error.strerror}") from error
        return msgspec.json.decode(datagram, type=ErrandResult), contents

    def kill(self) -> None:
        """Have the process end, with all that a step has started in it."""
        self._connection.close()
        with suppress(ProcessLookupError):  # it is gone already
            os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.returncode is not None

    @property
    def deaf(self) -> bool:
        """Whether it can be given nothing any more: it may have been killed while it had nothing to do."""
        try:
            return not self._connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    async def wait(self) -> None:
        """Return when the process is gone."""
        await self._process.wait()
