"""Which publishes have been made already: idempotency keys, remembered for a while."""

from collections import OrderedDict

from service.core.errors import LimitReached
from service.core.topic import Position

__all__ = ["KeyStore"]


class KeyStore:
    """A bounded map from (topic, key) to the position that the first publish got."""

    def __init__(self, most: int, age: float) -> None:
        self._most = most
        self._age = age
        # In order of time, because every key has the same life.
        self._known: OrderedDict[tuple[str, str], tuple[float, Position]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: tuple[str, str], now: float) -> Position | None:
        """Return where the key was published, or None when it is new or too old."""
        self.expire(now)
        known = self._known.get(key)
        return known[1] if known else None

    def put(self, key: tuple[str, str], position: Position, now: float) -> None:
        """Remember a new key; raise LimitReached rather than forget another one early."""
        if len(self._known) >= self._most:
            oldest = next(iter(self._known.values()))[0]
            raise LimitReached(
                f"limit keys: {self._most} are remembered", retry_after=max(0.0, oldest + self._age - now)
            )
        self._known[key] = (now, position)

    def expire(self, now: float) -> None:
        """Forget the keys whose time is over."""
        while self._known:
            key, (at, _) = next(iter(self._known.items()))
            if now - at <= self._age:
                return
            del self._known[key]
