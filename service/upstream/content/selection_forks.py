"""The parent of the processes that select, from the service's side: begun when it is needed."""

import asyncio
import socket
import sys
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import DEVNULL, Process
from typing import Final

from service.runtime.child_process import environment

__all__ = ["SelectionForks"]

_MODULE: Final = "service.upstream.content.selection"


class SelectionForks:
    """Has processes forked that select, each known by its niceness, and has them ended.

    That takes a few milliseconds, where a process of its own would have to import for half a second.
    """

    def __init__(self) -> None:
        self._parent: Process | None = None
        self._control: socket.socket | None = None
        self._starting = asyncio.Lock()
        self._dismissed: list[Process] = []
        """Those that were to end by themselves, and may not have ended yet."""

    def __repr__(self) -> str:
        return f"<SelectionForks of {self._parent!r}>"

    async def fork(self, niceness: int) -> tuple[StreamReader, StreamWriter]:
        """Return a connection to a new process, in the place of the one before it; raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                async with self._starting:
                    try:
                        self._ask(niceness, theirs)
                    except OSError:  # It has never been started, or has ended.
                        await self._start()
                        self._ask(niceness, theirs)
            ours.setblocking(False)
            return await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
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
                # -P: modules in the folder that the service runs in do not hide its own.
                self._parent = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", _MODULE, str(theirs.fileno()),
                    env=environment(), pass_fds=(theirs.fileno(),), stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL,
                )  # fmt: skip
            except BaseException:
                ours.close()
                raise
        self._control = ours

    def end(self, niceness: int) -> None:
        """End the process that has it."""
        try:
            self._ask(niceness)
        except OSError:
            self.dismiss()  # Its children have ended with it.

    def dismiss(self) -> None:
        """Have all processes end."""
        if self._control is not None:
            self._control.close()
            self._control = None
        self._dismissed = [one for one in self._dismissed if one.returncode is None]
        if self._parent is not None:
            self._dismissed.append(self._parent)
            self._parent = None

    async def close(self) -> None:
        """End all processes, and wait for that of the parent."""
        self.dismiss()
        processes, self._dismissed = self._dismissed, []
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
