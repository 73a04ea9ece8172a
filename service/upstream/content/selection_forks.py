"""The service's side of the process that forks those that select; it is started when it is first needed."""

import asyncio
import socket
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import DEVNULL, Process
from typing import Final

from service.runtime.python_path import command, environment

__all__ = ["SelectionForks"]

_MODULE: Final = "service.upstream.content.selection"


class SelectionForks:
    """Has processes that select forked, each identified by its niceness, and has them ended.

    A fork takes a few milliseconds; a process started from nothing would spend half a second on imports.
    """

    def __init__(self) -> None:
        self._parent: Process | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()
        self._dismissed: list[Process] = []
        """Parents that were asked to end, and may not have ended yet."""

    def __repr__(self) -> str:
        return f"<SelectionForks of {self._parent!r}>"

    async def fork(self, niceness: int) -> tuple[StreamReader, StreamWriter]:
        """Return a connection to a new process, which replaces the one with this niceness; raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                async with self._starting:
                    try:
                        self._ask(niceness, theirs)
                    except OSError:  # The parent has never been started, or has ended.
                        await self._start()
                        self._ask(niceness, theirs)
            ours.setblocking(False)
            return await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            asyncio.get_running_loop().call_soon(ours.close)  # a transport that has it closes it first
            raise

    def _ask(self, niceness: int, *connections: socket.socket) -> None:
        if self._control is None:
            raise ConnectionError("the parent process has not been started")
        socket.send_fds(self._control, [bytes([niceness])], [one.fileno() for one in connections])

    async def _start(self) -> None:
        self.dismiss()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            ours.setblocking(False)
            try:
                self._parent = await asyncio.create_subprocess_exec(
                    *command(_MODULE, str(theirs.fileno())),
                    env=environment(), pass_fds=(theirs.fileno(),), stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL,
                )  # fmt: skip
            except BaseException:
                ours.close()
                raise
        self._control = ours

    def end(self, niceness: int) -> None:
        """End the process with this niceness."""
        try:
            self._ask(niceness)
        except OSError:
            self.dismiss()  # The parent has ended, and its children with it.

    def dismiss(self) -> None:
        """Have the parent and all of its children end, without waiting for that."""
        if self._control is not None:
            self._control.close()
            self._control = None
        self._dismissed = [one for one in self._dismissed if one.returncode is None]
        if self._parent is not None:
            self._dismissed.append(self._parent)
            self._parent = None

    async def close(self) -> None:
        """End all processes, and wait until the parent has ended."""
        self.dismiss()
        processes, self._dismissed = self._dismissed, []
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
