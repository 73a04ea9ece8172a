"""Which publishes have been made already: idempotency keys, remembered for a while, apart for each owner."""

from collections import OrderedDict, deque
from typing import Final

from service.core.owner import Owner
from service.core.pending import Pending
from service.core.pool import Pool
from service.core.topics.topic import Position

__all__ = ["KeyStore"]

_AT_ONCE: Final = 2000
"""Keys that are forgotten at once, 1 us each; more than come in a second for long. 100,000 may be of one age."""

_Known = tuple[float, Position | Pending[Position]]


class KeyStore:
    """A bounded map from (topic, key) of an owner to the position that its first publish got, or is about to get.

    An owner that has used up its share is refused; others are not.
    """

    def __init__(self, most: int, age: float) -> None:
        self.pool = Pool("keys", most, advice="wait, or publish without a key")
        self._age = age
        # In order of time, because every key has the same life; the same order holds for each owner.
        self._known: dict[Owner, OrderedDict[tuple[str, str], _Known]] = {}
        self._order: deque[tuple[float, Owner, tuple[str, str]]] = deque()

    def __len__(self) -> int:
        return self.pool.used

    def get(self, owner: Owner, key: tuple[str, str], now: float) -> Position | Pending[Position] | None:
        """Return where an owner published this key, or None when it is new, too old, or its publish failed."""
        self.expire(now)
        own = self._known.get(owner)
        known = own.get(key) if own is not None else None
        if known is None:
            return None
        if now - known[0] > self._age:
            # Many keys have become too old together.
            self._forget(owner, key)
            return None
        return known[1]

    def check(self, owner: Owner, now: float) -> None:
        """Raise LimitReached when there is no room for a new key, rather than forget another one early."""
        own = self._known.get(owner)
        oldest = next(iter(own.values()))[0] if own else now
        self.pool.check(owner, retry_after=max(0.0, oldest + self._age - now))

    def put(self, owner: Owner, key: tuple[str, str], position: Position | Pending[Position], now: float) -> None:
        """Remember a new key; one whose publish fails is forgotten then."""
        own = self._known.get(owner)
        if own is None:
            own = self._known[owner] = OrderedDict()
        known = own[key] = (now, position)
        self._order.append((now, owner, key))
        self.pool.charge(owner, 1)
        if isinstance(position, Pending):
            position.on_settled(lambda outcome: self._settled(owner, key, known, outcome))

    def expire(self, now: float) -> None:
        """Forget keys whose time is over; not all where they are many."""
        for _ in range(_AT_ONCE):
            if not self._order or now - self._order[0][0] <= self._age:
                return
            at, owner, key = self._order.popleft()
            own = self._known.get(owner)
            known = own.get(key) if own is not None else None
            if known is not None and known[0] == at:
                self._forget(owner, key)

    def _settled(self, owner: Owner, key: tuple[str, str], known: _Known, outcome: Position | Exception) -> None:
        own = self._known.get(owner)
        if own is None or own.get(key) is not known:
            return
        if isinstance(outcome, Exception):
            self._forget(owner, key)
        else:
            own[key] = (known[0], outcome)

    def _forget(self, owner: Owner, key: tuple[str, str]) -> None:
        own = self._known[owner]
        del own[key]
        if not own:
            del self._known[owner]
        self.pool.release(owner, 1)
