"""The memory for the events of batches: who may use more of it, and what gives way when it is used up.

Theory of operation. All events of all batches stay within one bound. Batches that run, or are read still, are
*charged* to the pool that their owners share; finished ones that nobody reads are *kept* in what is left, and
go first (``batch_shares.py``): the oldest of the owner that keeps most. What is on disk leaves memory instead.
Else a batch whose owner has used up its share goes on like this:

    its present readers have taken events    the oldest of them are given up; a later reader gets a gap
    a present reader is slow                 the batch waits for it
    a present reader takes nothing           after ``PATIENCE`` it meets its ``on_lag`` policy
    no reader has come, or none came back    its remaining URLs fail as ``too_large``
      within ``PATIENCE``

What they hold on disk is counted and bounded separately (``batch_shares.py``); each batch is reported to it here.

So everything that a batch waits for ends by itself. A batch that waits for a reader to come back (``Keep.LINGER``)
ends with that wait.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from service.core.fetching.batch import Batch, Keep, failed_event
from service.core.fetching.outcome import INTERNAL, NO_MEMORY, Failure, Permit
from service.core.memory_budget import COPIES, UNLIMITED, MemoryBudget
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.pieces import encode_event
from service.core.pool import Pool
from service.core.ports import UrlOutcome
from service.core.topics.hub import Hub
from service.core.topics.topic import Position
from service.runtime.containment import report
from service.sources.batch_shares import FinishedBatches, StoredBatches, share_fields, too_large
from service.sources.charged_batches import PATIENCE, ChargedBatches

__all__ = ["Retention"]

_log = logging.getLogger("sluice.batches")

_UNKNOWN: Final = 64 << 10
"""Bytes that a batch's first events are taken to have."""
_SLACK: Final = 64
"""What is given up at once: enough for the next events, this part of the bound."""


class Retention:
    """The events of all batches; ``drop`` forgets a finished batch. ``stored`` counts those on disk."""

    def __init__(
        self, hub: Hub, bound: int, drop: Callable[[Batch], None], stored: StoredBatches,
        memory: MemoryBudget = UNLIMITED,
    ) -> None:  # fmt: skip
        self._memory = memory
        self._stored = stored
        self.pool = Pool("batches_size", bound)
        """What running batches, and those that are read still, hold."""
        self.given_up = 0
        """Events that were given up since the start."""
        self.spilled = 0
        """Events that left memory since the start, and are on disk."""
        self.outgrown = 0
        """Batches whose URLs failed for lack of memory since the start."""
        self._hub = hub
        self.finished = FinishedBatches(hub, bound, drop)
        self._charged: dict[Owner, ChargedBatches] = {}
        self._short: dict[str, float] = {}
        """Batches that wait for their owner's share of memory, and since when."""
        self._starved: dict[str, float] = {}
        """Batches for which the machine has no memory, and since when."""

    def __repr__(self) -> str:
        return f"<Retention {self.pool!r}, {len(self._short)} batches wait>"

    @property
    def waiting(self) -> int:
        """How many batches wait for memory."""
        return len(self._short) + len(self._starved)

    @property
    def shortage(self) -> str:
        """Say how many batches wait for which memory; empty where none does."""
        if self._starved:
            return f"limit memory: {len(self._starved)} batches wait for it"
        return f"limit batches_size: {len(self._short)} batches wait for memory" if self._short else ""

    def add(self, batch: Batch) -> None:
        """Take in a batch that begins."""
        self._charged.setdefault(batch.owner, ChargedBatches()).batches[batch.id] = batch
        self._stored.add(batch)

    def append(self, batch: Batch, event: Mapping[str, Any], now: float) -> Position | Pending[Position]:
        """Append an event to a batch, whether or not there is room; finished batches make room for it."""
        item = event.get("index", -1 if event["event"] == "done" else -2)
        outcome = UrlOutcome(item, event.get("status", 0))
        position = self._hub.append(batch.topic, encode_event(event), now, outcome)
        if isinstance(position, Position):
            self._appended(batch, position)
        else:
            position.on_settled(partial(self._appended, batch))
        return position

    def _appended(self, batch: Batch, position: Position | Exception) -> None:
        """Charge a batch with an event that is stored; one that was dropped before that is charged with nothing."""
        if isinstance(position, Exception) or self._hub.topics.get(batch.topic.name) is not batch.topic:
            return
        size = batch.topic.ring.size_of(position.offset)
        batch.sums.append(size + (batch.sums[-1] if batch.sums else 0))
        self.pool.charge(batch.owner, size)
        self._stored.grow(batch, size)
        if self._hub.log_bytes > self.pool.bound:
            self.finished.make_room()
        if batch.topic.history is not None and self.pool.room(batch.owner) <= 0:
            self._make_room_for(batch, 0)

    def append_failure(
        self, batch: Batch, index: int, failure: Failure, attempts: int, timing: dict[str, float], now: float
    ) -> None:
        """Append the failure of a URL; where that raises, a plain one in its place."""
        url = batch.url(index)
        try:
            self.append(batch, failed_event(index, url, failure, attempts, timing), now)
        except Exception as error:
            report("an event of a batch could not be appended", error)
            url = url.encode("utf-8", "replace").decode()
            self.append_done(batch, failed_event(index, url, INTERNAL, attempts, {}), now)

    def append_done(
        self, batch: Batch, event: Mapping[str, Any], now: float
    ) -> Position | Pending[Position] | None:
        """Append an event that is made of our own words; where that raises it is tried once more."""
        for _ in range(2):
            try:
                return self.append(batch, event, now)
            except Exception as error:
                report("an event of a batch could not be appended", error)
        return None

    def append_progress(self, batch: Batch) -> None:
        """Append an event that tells how far a batch is."""
        if batch.counted is not None:
            self.append(batch, {"event": "progress", "counts": batch.counted()}, self._hub.clock())

    def finish(self, batch: Batch) -> None:
        """Record that a batch is done: from its last reader on it is kept only while there is room."""
        self._stored.finish(batch)
        self._end_wait(batch)
        self._starved.pop(batch.id, None)
        if batch.topic.readers:
            batch.topic.on_idle = lambda: self._keep(batch)
        else:
            self._keep(batch)

    def forget(self, batch: Batch) -> None:
        """Forget a finished batch; readers that are still in it are evicted."""
        self._stored.forget(batch)
        topic = batch.topic
        # Topic and batch would else refer to each other, and wait for the collector of cycles.
        topic.on_idle = None
        if not self.finished.remove(batch):
            self._uncharge(batch)
        self._hub.drop(topic)

    def admit(self, batch: Batch) -> Permit | Failure:
        """Make room for one more fetch of a batch, hold the batch back, or say why its remaining URLs fail."""
        # The average size of the events so far, and from that how much the URLs under way will bring.
        sums = batch.sums
        usual = sums[-1] // len(sums) if sums else batch.landed
        coming = batch.landed + batch.under_way * usual
        if not self._memory.has(COPIES * (coming + (usual or _UNKNOWN))):
            return self._starving(batch)
        self._starved.pop(batch.id, None)
        expected = 2 * coming  # each byte is held, and is no longer free
        if self.pool.room(batch.owner) <= expected:
            self._make_room_for(batch, expected)
            if self.pool.room(batch.owner) <= expected:
                return self._keep_waiting(batch)
        if self._short:
            self._end_wait(batch)
        return Permit.START

    def _keep_waiting(self, batch: Batch) -> Permit | Failure:
        """Have a batch without room wait on, or say why it fails."""
        now = self._hub.clock()
        charged, since = self._charged[batch.owner], self._short.get(batch.id)
        if since is None:
            since = self._short[batch.id] = now
            charged.begin_wait()
            _log.info("a batch waits for memory", extra=share_fields(batch, self.pool))
        if batch.topic.history is None:
            charged.check_readers(now)
        return self._refusal(batch, now - since) or Permit.HOLD

    def _end_wait(self, batch: Batch) -> None:
        if self._short.pop(batch.id, None) is not None:
            self._charged[batch.owner].end_wait()

    def refuses(self, batch: Batch, size: int) -> Failure | None:
        """Say why a result of this size is refused: disk or memory is short, or all is used and nobody reads it."""
        if (full := self._stored.refuses(batch, size)) is not None:
            return full
        if not self._memory.reserve(COPIES * size):
            return NO_MEMORY
        pool, owner = self.pool, batch.owner
        if self._may_outgrow(batch) or pool.used + size <= pool.bound:
            return None
        return self._too_large(batch) if pool.held(owner) + size > pool.share(owner) else None

    def _starving(self, batch: Batch) -> Permit | Failure:
        """Have a batch wait until others have left it memory, as long as each of its URLs may take."""
        if batch.under_way:
            return Permit.HOLD  # each of those ends by its deadline, and then this is asked again
        now = self._hub.clock()
        since = self._starved.setdefault(batch.id, now)
        if since == now:
            _log.info("a batch waits for memory", extra=share_fields(batch, self.pool))
        return NO_MEMORY if now - since > batch.options.timeout else Permit.HOLD

    def _refusal(self, batch: Batch, waited: float) -> Failure | None:
        """Say why a batch that has no room fails, or return None for one that waits."""
        if self._may_outgrow(batch):
            return None
        read_before = batch.topic.furthest > 0
        own_doing = self.pool.held(batch.owner) >= self.pool.share(batch.owner)
        if waited < PATIENCE and (read_before or not own_doing):
            return None
        return self._too_large(batch)

    def _may_outgrow(self, batch: Batch) -> bool:
        """Return whether a batch goes on without room: its events are on disk, or somebody reads them."""
        return batch.topic.history is not None or bool(batch.topic.readers) or batch.keep is not Keep.DETACHED

    def _too_large(self, batch: Batch) -> Failure:
        if not batch.outgrown:
            batch.outgrown = True
            self.outgrown += 1
            _log.warning("a batch outgrew its share of memory", extra=share_fields(batch, self.pool))
        what = "the results that this client has not read"
        return too_large(batch, self.pool, what, "read the batch while it runs")

    def _make_room_for(self, batch: Batch, expected: int) -> None:
        """Give up what readers have taken: first those of the batch itself, then those of its owner's others."""
        self._give_up_taken(batch, self._wanted(batch, expected))
        charged, now = self._charged[batch.owner], self._hub.clock()
        if self.pool.room(batch.owner) > expected or not charged.may_sweep(now):
            return
        wanted = self._wanted(batch, expected)
        for other in charged.batches.values():
            self._give_up_taken(other, wanted)
            if (wanted := self._wanted(batch, expected)) <= 0:
                return
        charged.swept(now)

    def _wanted(self, batch: Batch, expected: int) -> int:
        """Return how much has to be given up for a batch to go on, and not to ask again at once."""
        return self.pool.bound // _SLACK + 1 + expected - self.pool.room(batch.owner)

    def _give_up_taken(self, batch: Batch, wanted: int) -> None:
        """Give up the oldest events that every present reader has taken, as many as are in the way.

        What is on disk leaves memory alone, even where readers have not taken it.
        """
        topic = batch.topic
        if topic.history is not None:
            self._spill(batch, wanted)
            return
        if not topic.readers:
            return
        through = min((reader.offset for reader in topic.readers if not reader.stalled), default=topic.head)
        first = topic.first
        self.pool.release(batch.owner, self._hub.give_up(topic, through, wanted))
        self.given_up += topic.first - first

    def _spill(self, batch: Batch, wanted: int) -> None:
        """Drop the oldest events from memory that are on disk."""
        before = batch.topic.ring.spilled
        self.pool.release(batch.owner, self._hub.spill(batch.topic, wanted))
        self.spilled += batch.topic.ring.spilled - before

    def _uncharge(self, batch: Batch) -> None:
        batches = self._charged[batch.owner].batches
        del batches[batch.id]
        if not batches:
            del self._charged[batch.owner]
        self.pool.release(batch.owner, batch.topic.size)

    def _keep(self, batch: Batch) -> None:
        batch.topic.on_idle = None
        self._uncharge(batch)
        self.finished.add(batch)
