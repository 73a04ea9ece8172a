"""So much in a turn of the loop: what comes together is spread over turns, and owners that wait take turns.

A hundred handshakes that are carried out in one turn take 10 ms, and a message of that turn waits for all
of them, twice: once until its publish is read, and once until readers are visited.

Each kind of work has its own bound for a turn: four requests begin, 8 KiB of messages are carried out, eight bodies
are read on. Where several kinds reach their bounds in the same turn, it is too long for everybody. So while turns
are long, all kinds do less, but at least one thing each, so that none starves.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from service.core.owner import Owner
from service.core.rotation import FairQueue
from service.runtime.clock import clock_of
from service.runtime.containment import contain, report

__all__ = ["LoopTurn", "PerTurn", "loop_turn"]

_LENGTH: Final = 0.001
"""Seconds that a turn is to take while anything waits for one."""
_LEAST: Final = 1 / 64
"""The share that is always left, however long turns are."""
_RISE: Final = 2.0
"""How much the share grows at most from one turn to the next: one short turn says little about the next ones."""
_SPARE: Final = 2
"""Owners that may do one thing in a turn that others have used up, so that who asks for little need not wait."""


class PerTurn:
    """What all who share it may do in one turn of the loop: ``each`` things, or as many as have so much cost.

    Where all bounded work together makes turns long, it is a share of that (:class:`LoopTurn`), but at least one
    thing. The last one of a turn may cost more than is left of it. The turn of an owner among those
    that wait is worth ``quantum``. Where others have used up a turn, ``spare`` owners that have had none of it
    have one thing each. ``what`` is how a call that raises is reported.
    """

    def __init__(
        self, each: int, quantum: int = 1, *, spare: int = _SPARE, what: str = "a call that had to wait failed"
    ) -> None:
        self.left = each
        """What is left of this turn; 0 or less where it is over."""
        self._each = each
        self._what = what
        self._ahead = 0
        """What those cost that were let pass in this turn: their tasks go on in the next one."""
        self._spare = self._left_to_spare = spare
        self._served: set[Owner] = set()
        """Who has had something of this turn."""
        self._waiting: FairQueue[_Waiting] = FairQueue(quantum)
        self.waiting = 0
        """How many wait: counted, because everything that comes looks at it."""
        self._turning = False
        self._loop_turn: LoopTurn | None = None

    def __repr__(self) -> str:
        return f"<PerTurn {self.left} of {self._each} left, {self.waiting} waiting>"

    def spend(self, cost: int) -> None:
        """Take some of this turn without waiting: all is there again a turn of the loop after the first of it."""
        self.left -= cost
        if not self._turning:
            self._turn_soon()

    def take(self, owner: Owner, cost: int = 1) -> bool:
        """Take some of this turn unless nothing is left of it or others wait; return whether that was possible.

        It also is for an owner that has had nothing of this turn, and has nothing that waits.
        """
        if self.left <= 0 or self.waiting:
            if self._left_to_spare <= 0 or owner in self._served or owner in self._waiting:
                return False
            self._left_to_spare -= 1
        self._served.add(owner)
        self.spend(cost)
        return True

    async def wait(self, owner: Owner, cost: int = 1) -> None:
        """Return when it is the caller's turn."""
        if self.take(owner, cost):
            return
        place = asyncio.get_running_loop().create_future()
        self._put(owner, _Waiting(partial(_let_pass, place), cost, ahead=True))
        await place

    def call(self, owner: Owner, action: Callable[[], object], cost: int = 1) -> None:
        """Carry out a short action: now, or when it is its turn."""
        if self.take(owner, cost):
            contain(self._what, action)
        else:
            self._put(owner, _Waiting(partial(_carry_out, self._what, action), cost, ahead=False))

    def _put(self, owner: Owner, waiting: "_Waiting") -> None:
        self._waiting.put(owner, waiting)
        self.waiting += 1
        if not self._turning:
            self._turn_soon()

    def _turn_soon(self) -> None:
        self._turning = True
        if self._loop_turn is None:
            self._loop_turn = loop_turn()
        self._loop_turn.enter(self)

    def turn(self, share: float) -> bool:
        """Begin a turn with a share of the usual, and let the next ones pass; return whether another has to begin.

        One that has gone in the meantime takes nobody's place.
        """
        now = self._each if share == 1.0 else max(1, int(self._each * share))
        self.left, self._ahead = now - self._ahead, 0
        self._left_to_spare = self._spare
        self._served.clear()
        while self.waiting:
            line = self._waiting.first
            items = line.items
            first = items[0]
            if (self._ahead >= now) if first.ahead else (self.left <= 0):
                break
            items.popleft()
            self._served.add(line.owner)
            spent = first.cost if first.passes() else 0
            self._waiting.spend(spent)
            self.waiting -= 1
            if first.ahead:
                self._ahead += spent
            else:
                self.left -= spent
        self._turning = bool(self._ahead or self.left < now)
        return self._turning


class LoopTurn:
    """All kinds of bounded work of a loop; rests while none has anything to do or did anything in this turn."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.share = 1.0
        """The part of its usual bound that each kind may do in this turn."""
        self._clock = clock
        self._began = 0.0
        """When this turn began, or the first kind of work in it, after a rest."""
        self._kinds: list[PerTurn] = []
        self._turning = False

    def __repr__(self) -> str:
        return f"<LoopTurn with {self.share:.0%} for each of {len(self._kinds)}>"

    def enter(self, kind: PerTurn) -> None:
        """Have the next turn of the loop begin one of this kind of work."""
        self._kinds.append(kind)
        if not self._turning:
            self._began = self._clock()
            self._turn_soon()

    def _turn_soon(self) -> None:
        self._turning = True
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        """Begin a turn."""
        self._turning = False
        began, self._began = self._began, self._clock()
        if self.share < 1.0 or self._began - began > _LENGTH:
            self._fit(self._began - began)
        kinds, self._kinds = self._kinds, []
        for kind in kinds:
            if kind.waiting:
                # Before those who pass go on: the next turn begins before they do.
                self._turn_soon()
                break
        for kind in kinds:
            self._begin(kind)
        if self._kinds and not self._turning:
            self._turn_soon()
        if not self._turning:
            self.share = 1.0

    def _begin(self, kind: PerTurn) -> None:
        try:
            if not kind.turn(self.share):
                return
        except Exception as error:
            # The others go on, and so does this one.
            report("bounded work failed", error)
        self._kinds.append(kind)

    def _fit(self, length: float) -> None:
        """Fit the share to how long the turn was that has ended."""
        length = max(length, _LENGTH / _RISE)
        self.share = min(1.0, max(_LEAST, self.share * _LENGTH / length))


class _Waiting(NamedTuple):
    """One that waits."""

    passes: Callable[[], bool]
    """Has it go on; returns whether it is still there."""
    cost: int
    ahead: bool
    """Whether it goes on in the next turn of the loop: a task that waits does."""


def _let_pass(place: "asyncio.Future[None]") -> bool:
    if place.done():
        return False
    place.set_result(None)
    return True


def _carry_out(what: str, action: Callable[[], object]) -> bool:
    contain(what, action)
    return True


_turns: "WeakValueDictionary[asyncio.AbstractEventLoop, LoopTurn]" = WeakValueDictionary()
"""One for each loop, for as long as a kind of work refers to it."""


def loop_turn() -> LoopTurn:
    """Return the turns of the running loop."""
    loop = asyncio.get_running_loop()
    turn = _turns.get(loop)
    if turn is None:
        turn = _turns[loop] = LoopTurn(clock_of(loop))
    return turn
