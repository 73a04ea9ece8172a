"""The service's side of the processes that select: started when needed, ended when they take too long."""

import asyncio
import logging
import time
from asyncio import StreamReader, StreamWriter
from typing import Final

from service.core.occurrences import Occurrences
from service.core.owner import SERVICE, Owner
from service.core.pool import FOUR_FIFTHS, Pool
from service.runtime.timer import IdleTimer
from service.runtime.turns import Turns
from service.upstream.content.media_types import LONGEST
from service.upstream.content.select_failed import SelectFailed
from service.upstream.content.selection import ANSWER, KINDS, REQUEST
from service.upstream.content.selection_forks import SelectionForks

__all__ = ["SelectTimeout", "Selector"]

_log = logging.getLogger("sluice.watches")

_TIME: Final = 2.0
"""Seconds for one selection; a megabyte of ordinary HTML takes 20 ms."""
_QUICK: Final = 0.25
"""Seconds that one may hold up those of others: after that it begins again in the process for slow ones."""
_START: Final = 30.0
"""Seconds until a new process has answered."""
_IDLE: Final = 60.0
"""Seconds after which processes without work are ended: they take 35 MiB."""
_SLOW_IDLE: Final = 10.0
"""Seconds for the process of slow selections: large pages may have made it grow, and it is rarely needed."""
_USUAL: Final = 10
"""The niceness of ordinary selections: on a single core, the loop goes first."""
_LAST: Final = 19
"""The niceness of slow selections, which get the CPU time that is left."""
_SLOW: Final = 60.0
"""Seconds for which an owner whose selection took too long is kept apart."""
_UNSTARTED: Final = "its process cannot be started"
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
        self._forks = SelectionForks()
        self._idle = IdleTimer(self._dismiss)
        self._usual = _SelectionProcess(self._forks, _USUAL, _IDLE)
        self._slow = _SelectionProcess(self._forks, _LAST, _SLOW_IDLE)
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
        if why := self.refusal(owner, size):
            raise SelectFailed(why, "unavailable")
        self.pool.charge(owner, size)
        try:
            request = (select.encode(), (content_type or "")[:LONGEST].encode("utf-8", "replace"), body, cut)
            return await self._in_turn(request, owner)
        finally:
            self.pool.release(owner, size)
            self._idle.restart(_IDLE)

    def refusal(self, owner: Owner, size: int) -> str | None:
        """Return why a body of this size cannot wait for its selection, and count that as refused; else None."""
        return None if self.pool.fits(owner, size) else self.pool.refusal(owner).detail

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

    def _dismiss(self) -> None:
        """End the processes unless a selection waits or runs."""
        if self.pool.used:
            self._idle.restart(_IDLE)
            return
        self._drop()
        self._forks.dismiss()

    def _drop(self) -> None:
        for process in (self._usual, self._slow):
            process.drop()

    async def close(self) -> None:
        """End the processes."""
        self._idle.cancel()
        self._drop()
        await self._forks.close()


class _SelectionProcess:
    """One process, forked when it is needed; callers hold one of ``turns`` while they use it."""

    def __init__(self, forks: SelectionForks, niceness: int, idle: float) -> None:
        self.turns = Turns()
        self._idle_time = idle
        self._idle = IdleTimer(self._end)
        self._forks = forks
        self._niceness = niceness
        self._streams: tuple[StreamReader, StreamWriter] | None = None
        self._failures = Occurrences(time.monotonic)

    async def select(self, request: _Request, most: float) -> bytes:
        """Return what the selection finds; raises SelectFailed, also after this many seconds."""
        self._idle.cancel()
        try:
            streams = self._streams = self._streams or await self._started()
            async with asyncio.timeout(most):
                found, text = await _ask(*streams, request)
        except TimeoutError:
            self._end()
            raise SelectTimeout(f"took longer than {most:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            self._end()
            raise self._unavailable("its process ended unexpectedly") from None
        except BaseException:
            self._end()
            raise
        self._idle.restart(self._idle_time)
        if (kind := KINDS[found]) is not None:
            raise SelectFailed(text.decode(), kind)
        return text

    async def _started(self) -> tuple[StreamReader, StreamWriter]:
        """Have a process forked and wait until it answers; the first one waits for its parent's imports."""
        try:
            async with asyncio.timeout(_START):
                reader, writer = await self._forks.fork(self._niceness)
                try:
                    await _ask(reader, writer, (b"p", b"text/html", b"<p>", False))
                except BaseException:
                    writer.transport.abort()
                    raise
                return reader, writer
        except TimeoutError as error:
            await self._forks.close()
            raise self._unavailable(f"{_UNSTARTED} (it took longer than {_START:g} s)") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise self._unavailable(f"{_UNSTARTED} (it ended at once)") from error
        except OSError as error:
            raise self._unavailable(f"{_UNSTARTED} ({error.strerror})") from error

    def _unavailable(self, why: str) -> SelectFailed:
        """Log an error that is a fault of the service, not of the page, and return it."""
        if count := self._failures.happened():
            _log.error("the selection process failed", extra={"why": why, "count": count})
        return SelectFailed(f"internal error: {why}", "unavailable")

    def _end(self) -> None:
        """End the process; the next selection has another one forked."""
        self.drop()
        self._forks.end(self._niceness)

    def drop(self) -> None:
        """Close the connection: an idle process ends when it notices that."""
        self._idle.cancel()
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


async def _ask(reader: StreamReader, writer: StreamWriter, request: _Request) -> tuple[int, bytes]:
    *parts, cut = request
    writer.writelines([REQUEST.pack(*map(len, parts), cut), *parts])
    await writer.drain()
    found, size = ANSWER.unpack(await reader.readexactly(ANSWER.size))
    return found, await reader.readexactly(size)
