"""Which publishes have been made already: idempotency keys, remembered for a while, apart for each owner."""

from collections import OrderedDict, deque

from service.core.owner import Owner
from service.core.pool import Pool
from service.core.topics.topic import Position

__all__ = ["KeyStore"]


class KeyStore:
    """A bounded map from (topic, key) of an owner to the position that its first publish got.

    An owner that has used up its share is refused; others are not.
    """

    def __init__(self, most: int, age: float) -> None:
        self.pool = Pool("keys", most, advice="wait, or publish without a key")
        self._age = age
        # In order of time, because every key has the same life; the same order holds for each owner.
        self._known: dict[Owner, OrderedDict[tuple[str, str], tuple[float, Position]]] = {}
        self._order: deque[tuple[float, Owner]] = deque()

    def __len__(self) -> int:
        return self.pool.used

    def get(self, owner: Owner, key: tuple[str, str], now: float) -> Position | None:
        """Return where an owner published this key, or None when it is new or too old."""
        self.expire(now)
        own = self._known.get(owner)
        known = own.get(key) if own is not None else None
        return known[1] if known is not None else None

    def put(self, owner: Owner, key: tuple[str, str], position: Position, now: float) -> None:
        """Remember a new key; raise LimitReached rather than forget another one early."""
        own = self._known.get(owner)
        oldest = next(iter(own.values()))[0] if own else now
        self.pool.check(owner, retry_after=max(0.0, oldest + self._age - now))
        if own is None:
            own = self._known[owner] = OrderedDict()
        own[key] = (now, position)
        self._order.append((now, owner))
        self.pool.take(owner, 1)

    def expire(self, now: float) -> None:
        """Forget the keys whose time is over."""
        while self._order and now - self._order[0][0] > self._age:
            _, owner = self._order.popleft()
            own = self._known[owner]
            own.popitem(last=False)
            if not own:
                del self._known[owner]
            self.pool.give_back(owner, 1)
