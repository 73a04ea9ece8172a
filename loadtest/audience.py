"""The subscribers of one sequence of messages: an account for each, latencies for all of them together.

A read of a member is one entry in a dictionary, by (first offset, count, time); members that read the same at the
same time share it. The entries become latencies when the publishes that they belong to are known, a few
at a time, so that the loop is never kept for long by its own bookkeeping.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any

from loadtest.ledger import FaultCounts, Ledger
from loadtest.sequences import Sequence, first_of, sequence_of
from loadtest.tally import Tally, rounded

__all__ = ["BEATS", "Arrival", "Audience", "Member"]

_SLICE = 2_000
"""Latencies recorded before others get the loop: about a millisecond."""

BEATS = 100
"""Parts of a second in which it is noted whether anything came."""

NEVER = -1.0
"""The due time of a message whose latency means nothing."""

Arrival = tuple[int, float, float, float, int]
"""(offset, due, first arrival, last arrival, readers) of one message."""


class Member(Ledger):
    """One subscriber."""

    __slots__ = ("_reads", "_total", "audience", "had")

    def __init__(self, audience: "Audience", number: int, start: int) -> None:
        super().__init__(audience.faults, start, number)
        self.audience = audience
        self.had = 0
        self._total = 0.0
        self._reads = audience.reads

    def took(self, first: int, count: int, now: float) -> None:
        """Take a read of ``count`` messages that had come at ``now``."""
        if first == self.expected:
            self.expected += count
        else:
            own = self.audience.own(first, count)
            if own is None:
                return
            first = own
            self.run(first, count)
        self.had += count
        self._total += now * count
        self._reads[first, count, now] += 1

    def delay(self, due: float) -> float:
        """Return its mean delay in seconds, where the messages that it had were due ``due`` in sum."""
        return (self._total - due) / self.had


class Audience:
    """The members of a sequence, what was published there and when it was meant to be."""

    def __init__(self, sequence: Sequence | str, tally: Tally, latency: str = "delivery") -> None:
        sequence = Sequence(0, sequence) if isinstance(sequence, str) else sequence
        self.sequence = sequence
        self.topic = sequence.topic
        self.before = first_of(sequence.index)
        """The number that stands before the first message."""
        self._delivered = "delivered" if latency == "delivery" else f"delivered_{latency}"
        self.tally = tally
        self.faults = FaultCounts(self.topic)
        self.members: list[Member] = []
        self.due: dict[int, float] = {}
        self.head = self.before
        """The highest number that was published."""
        self.reads: defaultdict[tuple[int, int, float], int] = defaultdict(int)
        self.beats: set[int] = set()
        self._waiting: list[tuple[int, float, int]] = []
        self._void: list[int] = []
        self._arrivals: dict[int, list[Any]] = {}
        self._recorder = tally.recorder(latency)

    def join(self, number: int, start: int) -> Member:
        """Add a member that expects messages from the ``start``th on."""
        member = Member(self, number, self.before + start)
        self.members.append(member)
        return member

    def own(self, first: int, count: int) -> int | None:
        """Return the number of a message that came to a member; None for one that was not meant for it."""
        if self.before and not sequence_of(first):
            return first + self.before
        if sequence_of(first) != self.sequence.index:
            self.tally.count("misrouted", count)
            return None
        return first

    def published(self, offset: int, due: float) -> None:
        """Learn that a message was published, and when it was meant to be."""
        self.due[offset] = due
        self.head = max(self.head, offset)

    def not_published(self, offset: int) -> None:
        """Learn that a message was meant to be published and was not: nobody waits for it."""
        self._void.append(offset)

    def ignore(self, offset: int) -> None:
        """Learn that nothing is meant by the time of a message."""
        self.due[offset] = NEVER

    def flush(self, budget: int = _SLICE) -> bool:
        """Turn reads into latencies, ``budget`` of them or a few more; return whether some are left."""
        for reads in self._drained():
            budget -= reads[1]
            self._settle(*reads)
            if budget <= 0:
                break
        waiting, self._waiting = self._waiting, []
        for offset, at, times in waiting:
            self._account((offset,), at, times)
        self.tally.checks.update(self.faults.counts)
        self.faults.counts.clear()
        return bool(self.reads)

    def _drained(self) -> Iterator[tuple[int, int, float, int]]:
        while self.reads:
            (first, count, at), times = self.reads.popitem()
            yield first, count, at, times

    def _settle(self, first: int, count: int, now: float, times: int) -> None:
        self.beats.add(int(now * BEATS))
        self._account(range(first, first + count), now, times)

    def _account(self, offsets: Iterable[int], at: float, times: int) -> None:
        """Record what came at one moment; one loop without calls, because it sees every message of every read."""
        dues, arrivals, recorder = self.due, self._arrivals, self._recorder
        measured_from, known = self.tally.measured_from, 0
        for offset in offsets:
            due = dues.get(offset)
            if due is None:
                self._waiting.append((offset, at, times))
                continue
            known += times
            had = arrivals.get(offset)
            if had is None:
                arrivals[offset] = [at, at, times]
            else:
                had[2] += times
                if at < had[0]:
                    had[0] = at
                elif at > had[1]:
                    had[1] = at
            if due >= measured_from and due != NEVER:
                recorder[rounded(at - due)] += times
        self.tally.counters[self._delivered] += known

    @property
    def complete(self) -> bool:
        """Whether every member has everything that was published."""
        return all(member.has(self.head) for member in self.members)

    def close(self, settled: bool = True) -> None:
        """Make up the accounts; what has not come is lost, if it had its time to settle."""
        while self.flush(1 << 30):
            pass
        if self._waiting:
            self.tally.count("of_others", sum(times for _, _, times in self._waiting))
        for member in self.members if settled else ():
            for offset in self._void:
                member.pass_over(offset)
            member.close(self.head)
        self.tally.checks.update(self.faults.counts)
        self.faults.counts.clear()
        self.tally.places += [
            (kind, self.sequence.name, first - self.before, last - self.before, readers)
            for (kind, first, last), readers in self.faults.places.items()
        ]

    def troubles(self) -> Iterable[tuple[str, int, int]]:
        """Return (check, client, messages) of every client that something was wrong with."""
        return [(*who, messages) for who, messages in self.faults.clients.items()]

    def arrivals(self) -> Iterable[Arrival]:
        """Return when each message came to the first and to the last member."""
        return [
            (offset, self.due[offset], *had)
            for offset, had in sorted(self._arrivals.items())
            if self.due[offset] != NEVER
        ]

    def delays(self) -> list[tuple[int, float]]:
        """Return (number, mean delay in seconds) of each member that had all messages once."""
        offsets = sorted(self.due)
        sums = dict(zip(offsets, accumulate(self.due[offset] for offset in offsets), strict=True))
        whole = [member for member in self.members if member.had == len(offsets) and not member.missing]
        return [(member.number, member.delay(sums[offsets[-1]])) for member in whole] if offsets else []
