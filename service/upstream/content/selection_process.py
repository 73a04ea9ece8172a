"""The process that selects, from the service's side: begun when it is needed, ended when it takes too long."""

import asyncio
import logging
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Final

from service.core.occurrences import Occurrences
from service.core.owner import SERVICE, Owner
from service.core.pool import FOUR_FIFTHS, Pool
from service.runtime.timer import IdleTimer
from service.runtime.turns import Turns
from service.upstream.content.media_types import LONGEST
from service.upstream.content.select_failed import SelectFailed
from service.upstream.content.selection import ANSWER, KINDS, REQUEST

__all__ = ["SelectTimeout", "Selector"]

_log = logging.getLogger("sluice.watches")

_TIME: Final = 2.0
"""Seconds for one selection; a megabyte of ordinary HTML takes 20 ms."""
_QUICK: Final = 0.25
"""Seconds that one may hold up those of others: after that it begins again in the process for slow ones."""
_MODULE: Final = "service.upstream.content.selection"
_START: Final = 30.0
"""Seconds until a new process has answered."""
_ROOT: Final = Path(__file__).parents[3]
"""Where the process finds the package."""
_IDLE: Final = 60.0
"""Seconds after which a process that has nothing to do is ended: it has 30 MiB."""
_SLOW: Final = 60.0
"""Seconds for which an owner whose selection took too long is kept apart."""
_Request = tuple[bytes, bytes, bytes, bool]


class SelectTimeout(SelectFailed):
    """It took too long."""


class Selector:
    """Selections in a process of their own, owners in turns; hostile pages and selectors cost their own watchers.

    A selection that does not end soon begins again in a second process, where its owner has its next ones too for a
    minute: else each of them would hold up everyone else's by as long as it may take.
    """

    def __init__(self, bodies: int = 64 << 20) -> None:
        self.pool = Pool("selections", bodies, eager=FOUR_FIFTHS, advice="fewer watches, or smaller pages")
        """Bytes of bodies that wait for their turn, or have it."""
        self._usual, self._slow = _SelectionProcess(), _SelectionProcess()
        self._slow_until: dict[Owner, float] = {}

    def __repr__(self) -> str:
        return f"<Selector {self._usual.turns!r}, {len(self._slow_until)} owners are slow>"

    async def select(
        self,
        body: bytes,
        select: str,
        content_type: str | None = None,
        *,
        cut: bool = False,
        owner: Owner = SERVICE,
    ) -> bytes:
        """Return what the selection finds, when it is its owner's turn; raises SelectFailed."""
        size = len(body)
        if not self.pool.fits(owner, size):
            raise SelectFailed(self.pool.refusal(owner).detail, "unavailable")
        self.pool.take(owner, size)
        try:
            request = (select.encode(), (content_type or "")[:LONGEST].encode("utf-8", "replace"), body, cut)
            return await self._in_turn(request, owner)
        finally:
            self.pool.give_back(owner, size)

    async def _in_turn(self, request: _Request, owner: Owner) -> bytes:
        async with self._usual.turns.turn(owner):
            # It may have turned out to be slow while it waited.
            if not self._is_slow(owner):
                try:
                    return await self._usual.select(request, _QUICK)
                except SelectTimeout:
                    self._keep_apart(owner)
        async with self._slow.turns.turn(owner):
            try:
                return await self._slow.select(request, _TIME)
            except SelectTimeout:
                self._keep_apart(owner)
                raise

    def _is_slow(self, owner: Owner) -> bool:
        return self._slow_until.get(owner, 0.0) > time.monotonic()

    def _keep_apart(self, owner: Owner) -> None:
        now = time.monotonic()
        self._slow_until.pop(owner, None)
        self._slow_until[owner] = now + _SLOW
        while self._slow_until and next(iter(self._slow_until.values())) <= now:
            del self._slow_until[next(iter(self._slow_until))]

    async def close(self) -> None:
        """End the processes."""
        await self._usual.end()
        await self._slow.end()


class _SelectionProcess:
    """One process, begun when it is needed; the caller has the turn."""

    def __init__(self) -> None:
        self.turns = Turns()
        self._process: Process | None = None
        self._dismissed: list[Process] = []
        """Those whose input was closed, and which may not have ended yet."""
        self._idle = IdleTimer(self._dismiss)
        self._failures = Occurrences(time.monotonic)

    async def select(self, request: _Request, most: float) -> bytes:
        """Return what is found in so many seconds; raises SelectFailed."""
        try:
            process = self._process = self._process or await self._started()
            async with asyncio.timeout(most):
                found, text = await self._ask(process, *request)
        except TimeoutError:
            await self.end()
            raise SelectTimeout(f"took longer than {most:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            await self.end()
            raise self._unavailable("the process for it ended unexpectedly") from None
        except BaseException:
            await self.end()
            raise
        finally:
            self._idle.restart(_IDLE)
        if (kind := KINDS[found]) is not None:
            raise SelectFailed(text.decode(), kind)
        return text

    async def _started(self) -> Process:
        """Start the process and wait until it answers; under load that takes longer than a selection may."""
        try:
            async with asyncio.timeout(_START):
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", _MODULE, cwd=_ROOT, stdin=PIPE, stdout=PIPE, stderr=DEVNULL
                )
                try:
                    # It imports what parses HTML: that is not the time of a selection.
                    await self._ask(process, b"p", b"text/html", b"<p>", cut=False)
                except BaseException:
                    await _killed(process)
                    raise
                return process
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise self._unavailable("the process for it cannot be started (it ended at once)") from error
        except OSError as error:  # a time-out is one, too
            why = error.strerror or f"it took longer than {_START:g} s"
            raise self._unavailable(f"the process for it cannot be started ({why})") from error

    def _unavailable(self, why: str) -> SelectFailed:
        """Log what is an error of ours, not of the page, and return it."""
        if count := self._failures.happened():
            _log.error("the selection process failed", extra={"why": why, "count": count})
        return SelectFailed(f"internal error: {why}", "unavailable")

    async def _ask(
        self, process: Process, select: bytes, content_type: bytes, body: bytes, cut: bool
    ) -> tuple[int, bytes]:
        assert process.stdin is not None
        assert process.stdout is not None
        head = REQUEST.pack(len(select), len(content_type), len(body), cut)
        process.stdin.writelines([head, select, content_type, body])
        await process.stdin.drain()
        found, size = ANSWER.unpack(await process.stdout.readexactly(ANSWER.size))
        return found, await process.stdout.readexactly(size)

    def _dismiss(self) -> None:
        """Let an idle process end: it does when its input has."""
        if self._process is not None and not self.turns.taken:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._dismissed = [one for one in self._dismissed if one.returncode is None]
            self._dismissed.append(self._process)
            self._process = None

    async def end(self) -> None:
        """End the process, and those that were dismissed; the next selection begins another one."""
        self._idle.cancel()
        processes, self._dismissed = self._dismissed, []
        if self._process is not None:
            processes.append(self._process)
            self._process = None
        for process in processes:
            await _killed(process)


async def _killed(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
