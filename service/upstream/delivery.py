"""Delivers the outcomes of URLs: an error costs that URL alone its result.

Outcomes of one turn of the loop are delivered together at its end: if fetching and delivering alternated, each
would push the other's data out of the CPU caches, which costs 15 % of a small fetch. Outcomes for which a turn has
no time are delivered in later ones: owners alternate, and the outcomes of each keep their order. Until then they
count as landed, so that the bounds of memory and credit hold.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from time import thread_time

import msgspec

from service.core.fetching.batch import Batch
from service.core.fetching.outcome import INTERNAL, Failure, Fetched
from service.core.fetching.owners import PER_BYTES, USUAL
from service.core.fetching.plan import FetchPlan
from service.core.fetching.target import Target
from service.core.fetching.task import ENDED, FetchGroup, FetchTask, Rejection, asker_of
from service.core.owner import Owner
from service.core.pool import FOUR_FIFTHS, Pool
from service.core.rotation import FairQueue, OwnerQueue
from service.runtime.containment import contain, report
from service.runtime.per_turn import PerTurn
from service.upstream.content.result_events import LARGE, encode_in_steps
from service.upstream.flights import Flight

__all__ = ["STEP", "Delivery"]

_log = logging.getLogger("sluice.batches")

_EVENT = 300
"""Bytes of an event without its body, about."""
_TURN, _TURN_SHARED = 3000, 500
"""What is delivered in one turn of the loop, in microseconds, about: 200 events, or 750 KB of text. Once for what
has landed, and once for what needs no request. Less where several clients fetch: an answer takes several turns, and
each of them is as long as what the others do in it."""
_EVENT_TIME, _REJECTED = 15, 30
"""Microseconds that an event takes without its body, and that of a URL that never starts."""
_PLAIN = 8
"""Bytes in a microsecond, about, as a power of two: decoded, escaped as JSON and copied."""
_BEGINS, _CONNECTS = 600, 2000
"""Four times the microseconds that a request takes until it is answered, over a kept connection and over a new one.
Where several clients fetch, what begins counts before it is answered, and takes several turns. A newcomer's counts
once: where turns are short, ten of a batch would else begin in ten of them."""
_BEHIND_OTHERS = 125
"""What of that those have who give way to newcomers, all together."""
_OWNER = 500
"""What one owner has delivered before it is another's turn, where several wait: as :data:`_TURN`."""
STEP = 10
"""Microseconds that each step of the plan takes, as where a URL joins a flight."""
_BEHIND = 16 << 20
"""Bytes that wait to be delivered: what comes in faster would fill the memory. An owner that has used up its share
begins nothing new."""


class _Landed(msgspec.Struct, eq=False):
    """What has come, and the tasks of one owner that have not got it yet."""

    leader: FetchTask
    """Who asked for it."""
    outcome: Fetched | Failure
    size: int
    waiters: list[FetchTask]
    """The first of them at the end."""
    others: bool
    """Whether somebody beside its leader gets the outcome."""
    steps: Iterator[None] | None = None
    """What is left of encoding it for the first of them, where it is large."""


class Delivery:
    """Delivers the outcomes of flights that have landed to those who asked.

    ``again(work, outcome)`` is asked first: it says when the attempt is made again, if it is. ``changed`` is called
    where more may begin: an attempt is made again, an owner is no longer behind, or somebody beside the leader got
    the outcome, which leaves a turn of their batch. What is delivered is ended in the plan's ``admitted``.
    """

    def __init__(
        self,
        plan: FetchPlan,
        again: Callable[[FetchTask, Fetched | Failure], float | None],
        changed: Callable[[], object],
    ) -> None:
        self._plan = plan
        self._owners = plan.owners
        self._admitted = plan.admitted
        self._again = again
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._landed: FairQueue[_Landed] = FairQueue(_OWNER)
        self.undelivered = Pool("undelivered_bytes", _BEHIND, eager=FOUR_FIFTHS)
        """What has landed; an owner that has used up its share begins nothing new."""
        self.turn = PerTurn(_TURN)
        """For URLs that need no request: rejected, answered from the cache, or joined to a flight. Once a turn is
        used up, no URL begins or is rejected before the next."""
        self._idle = asyncio.Event()
        self._idle.set()

    async def close(self) -> None:
        """Return when all that has landed is delivered."""
        await self._idle.wait()

    def land(self, flight: Flight, outcome: Fetched | Failure) -> None:
        """Take in a flight that has ended."""
        size = _EVENT + (len(outcome.body) if isinstance(outcome, Fetched) else 0)
        flight.landed = True
        waiters, leader = flight.waiters, flight.leader
        if len(waiters) == 1 and waiters[0] is leader:
            self._put(leader, waiters, outcome, size, others=False)
            return
        by_owner: dict[Owner, list[FetchTask]] = {}
        for work in waiters:
            by_owner.setdefault(work.group.owner, []).append(work)
        for works in by_owner.values():
            self._put(leader, works, outcome, size, others=True)

    def _put(
        self, leader: FetchTask, works: list[FetchTask], outcome: Fetched | Failure, size: int, *, others: bool
    ) -> None:
        """Take in an outcome for some of one owner."""
        for work in works:
            # Whether its batch may go on is asked before it gets the outcome.
            work.group.landed += size
        if self._idle.is_set():
            self._idle.clear()
            self._loop.call_soon(self._settle)
        owner = works[0].group.owner
        self.undelivered.charge(owner, size)
        if self.undelivered.room(owner) <= 0:
            self._owners.shares.pause(owner)
        self._landed.put(owner, _Landed(leader, outcome, size, works[::-1], others))

    def _delivered(self, owner: Owner, size: int, *, others: bool) -> None:
        """Count out what an owner has got; it may go on once it is no longer behind."""
        self.undelivered.release(owner, size)
        if self._owners.shares.is_paused(owner) and self.undelivered.room(owner) > 0:
            self._plan.resume(owner)
            self._changed()
        elif others:
            self._changed()

    def succeeded(self, work: FetchTask, fetched: Fetched, queued: float, *, shared: bool) -> None:
        """Deliver an answer."""
        self._admitted.end(work.group, work.index)
        try:
            work.group.listener.succeeded(work.group, work, fetched, queued, shared=shared)
        except Exception as error:
            self.broken(work.group, work.index, work.attempts, error)

    def begins(self, work: FetchTask, keeps: Callable[[Target, Owner], bool]) -> None:
        """Count a request that begins, where several clients fetch; ``keeps`` says whether it needs to connect."""
        if not self._owners.contended:
            return
        connects, favour = not keeps(work.target, work.group.owner), self._owners.favour(work.group.owner)
        if self._owners.gives_way(work.group.owner):
            # What a newcomer waits for takes some ten turns, each as short as can be: with one such request.
            self.turn.spend(_TURN)
        else:
            self.turn.spend((_CONNECTS if connects else _BEGINS) // favour)
        if connects:
            self._owners.charge(work.group.owner, USUAL // favour)

    def known(self, work: FetchTask, fetched: Fetched) -> None:
        """Deliver an answer from the cache."""
        if len(fetched.body) > LARGE:
            work.begun = work.admitted
            self._put(work, [work], fetched, _EVENT + len(fetched.body), others=False)
            return
        self.turn.spend(_EVENT_TIME + (len(fetched.body) >> _PLAIN))
        self.succeeded(work, fetched, 0.0, shared=False)

    def failed(
        self, group: FetchGroup, index: int, failure: Failure, attempts: int, timing: dict[str, float]
    ) -> None:
        """Deliver a failure."""
        self._admitted.end(group, index)
        try:
            group.listener.failed(group, index, failure, attempts, timing)
        except Exception as error:
            self.broken(group, index, attempts, error)

    def rejected(self, one: Rejection) -> None:
        """Deliver the failure of a URL that never starts, or not again."""
        self.turn.spend(_REJECTED)
        if one.error is None:
            self.failed(one.group, one.index, one.failure, one.attempts, {})
        else:
            self.broken(one.group, one.index, one.attempts, one.error)

    def broken(self, group: FetchGroup, index: int, attempts: int, error: BaseException) -> None:
        """Log a bug, and fail the URL that it happened to."""
        self._admitted.end(group, index)
        fields = group.correlation.log_fields() if isinstance(group, Batch) and group.correlation else {}
        asker = asker_of(group)
        _log.error("unhandled exception in a fetch", exc_info=error, extra={"asker": asker, **fields})
        try:
            group.listener.failed(group, index, INTERNAL, attempts, {})
        except Exception:
            _log.exception("a failure could not be delivered", extra={"asker": asker, **fields})

    def _settle(self) -> None:
        """Deliver some of what has landed, and come back for the rest, even after a bug."""
        well = contain("outcomes could not be delivered", self._deliver_some)
        if not self._landed:
            self._idle.set()
        elif well:
            self._loop.call_soon(self._settle)
        else:
            self._loop.call_later(1.0, self._settle)

    def _deliver_some(self) -> None:
        """Deliver as much as a turn has time for, and one event at least."""
        room, behind = _TURN_SHARED if self._owners.contended else _TURN, _BEHIND_OTHERS
        while room > 0 and self._landed:
            line = self._landed.first
            if self._owners.gives_way(line.owner):
                if behind <= 0:
                    break
                spent = self._serve(line, behind)
                behind, cost = 0, _OWNER
            else:
                favour = self._owners.favour(line.owner)
                spent = self._serve(line, min(room, line.credit * favour))
                cost = -(-spent // favour)
            self._landed.spend(cost)
            room -= spent

    def _serve(self, line: OwnerQueue[_Landed], most: int) -> int:
        """Deliver outcomes of one owner for about ``most`` microseconds; return how many it took."""
        items, spent, size, others = line.items, 0, 0, False
        while spent < most and items:
            first = items[0]
            spent += self._advance(first)
            if not first.waiters:
                items.popleft()
                size += first.size
                others = others or first.others
        if size >> PER_BYTES:
            self._owners.spend(line.owner, size >> PER_BYTES)
        self._delivered(line.owner, size, others=others)
        return spent

    def _advance(self, first: _Landed) -> int:
        """Deliver an outcome to one, or take a step towards it; return how many microseconds it took, about."""
        outcome, work = first.outcome, first.waiters[-1]
        large = isinstance(outcome, Fetched) and len(outcome.body) > LARGE and isinstance(work.group, Batch)
        begun = thread_time() if large else 0.0
        if not (large and self._encode(first, work)):
            first.waiters.pop()
            first.steps = None
            try:
                self._deliver(first, work)
            except Exception as error:
                report("an outcome could not be delivered", error)
        if large:
            # Three times: such bodies take hundreds of turns, and in each of them everybody waits.
            return max(1, int((thread_time() - begun) * 3e6))
        return _EVENT_TIME + (first.size >> _PLAIN)

    def _encode(self, first: _Landed, work: FetchTask) -> bool:
        """Encode some more of a large body; return False once all of it is."""
        assert isinstance(first.outcome, Fetched)
        if first.steps is None:
            first.steps = encode_in_steps(first.outcome, work.group.options.mode(first.outcome.status))
        try:
            next(first.steps)
        except StopIteration:
            return False
        except Exception as error:
            # It is encoded at once when it is delivered, or fails there alone.
            report("a body could not be encoded in steps", error)
            return False
        return True

    def _deliver(self, landed: _Landed, work: FetchTask) -> None:
        outcome = landed.outcome
        work.group.landed -= landed.size
        if work.state is ENDED:
            return  # its batch was cancelled, or the watchdog has given it up
        try:
            at = self._again(work, outcome)
            if at is not None:
                self._plan.retry(work, at)
                self._changed()
                return
        except Exception as error:
            self.broken(work.group, work.index, work.attempts, error)
            return
        if isinstance(outcome, Failure):
            timing = {
                "queued": round((work.begun - work.admitted) * 1000, 2),
                "total": round((self._loop.time() - work.admitted) * 1000, 2),
            }
            self.failed(work.group, work.index, outcome, work.attempts, timing)
        else:
            self.succeeded(work, outcome, work.begun - work.admitted, shared=work is not landed.leader)
