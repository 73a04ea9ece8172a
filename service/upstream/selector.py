"""The process that selects, from the service's side: begun when it is needed, ended when it takes too long."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from typing import Final

from service.upstream import selecting
from service.upstream.selecting import ANSWER, REQUEST, SelectFailed

__all__ = ["SelectTimeout", "Selector"]

_TIME: Final = 2.0
"""Seconds for one selection; a megabyte of ordinary HTML takes 20 ms."""
_START: Final = 10.0
_IDLE: Final = 60.0
"""Seconds after which a process that has nothing to do is ended: it has 30 MiB."""


class SelectTimeout(SelectFailed):
    """It took too long."""


class Selector:
    """One selection at a time; hostile pages and selectors cost their own watchers a time-out."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None

    async def select(self, body: bytes, select: str) -> bytes:
        """Return what the selection finds; raises SelectFailed."""
        async with self._turn:
            if self._process is None:
                self._process = await self._start()
            try:
                async with asyncio.timeout(_TIME):
                    found, text = await self._ask(self._process, body, select.encode())
            except TimeoutError:
                await self._end()
                raise SelectTimeout(f"took longer than {_TIME:g} s") from None
            except (asyncio.IncompleteReadError, ConnectionError):
                await self._end()
                raise SelectFailed("is beyond what a page may cost") from None
            except BaseException:
                await self._end()
                raise
            finally:
                self._rest()
        if not found:
            raise SelectFailed(text.decode())
        return text

    async def _start(self) -> Process:
        try:
            async with asyncio.timeout(_START):
                return await asyncio.create_subprocess_exec(
                    sys.executable, selecting.__file__, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
                )
        except OSError as error:  # a time-out is one, too
            raise SelectFailed("the process for it could not be begun") from error

    async def _ask(self, process: Process, body: bytes, select: bytes) -> tuple[bool, bytes]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.writelines([REQUEST.pack(len(select), len(body)), select, body])
        await process.stdin.drain()
        found, size = ANSWER.unpack(await process.stdout.readexactly(ANSWER.size))
        return found, await process.stdout.readexactly(size)

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(_IDLE, self._dismiss)

    def _dismiss(self) -> None:
        """Let an idle process end: it does when its input has."""
        if self._process is not None and not self._turn.locked():
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process = None

    async def _end(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        process, self._process = self._process, None
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def close(self) -> None:
        """End the process."""
        await self._end()
