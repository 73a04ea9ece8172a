"""Topics that nobody needs at the moment: their epoch and offset outlive them, so that who comes back can go on.

A topic whose last reader was away for two seconds would else begin anew: another epoch, and every client that
comes back learns that all it knew is void.
"""

from collections import OrderedDict

from service.core.topics.topic import Position, Topic

__all__ = ["RetiredTopics"]


class RetiredTopics:
    """The positions of topics that were forgotten less than ``age`` seconds ago; at most ``most`` of them.

    Beyond that the one that has been idle longest goes first.
    """

    def __init__(self, most: int, age: float) -> None:
        self._most = most
        self._age = age
        # In order of time, because all are kept for the same time.
        self._known: OrderedDict[str, tuple[float, Position]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def keep(self, topic: Topic, now: float) -> None:
        """Remember where a topic stands that is about to be forgotten."""
        self._known[topic.name] = (now, topic.position)
        self._known.move_to_end(topic.name)
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def take(self, name: str) -> Position | None:
        """Return where a topic stood, and forget it here: it is about to be made again."""
        known = self._known.pop(name, None)
        return known[1] if known is not None else None

    def expire(self, now: float) -> None:
        """Forget those whose time is over."""
        while self._known:
            name, (at, _) = next(iter(self._known.items()))
            if now - at <= self._age:
                return
            del self._known[name]
