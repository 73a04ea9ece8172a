"""What was acknowledged and received, and what of it breaks the promise: no process, no socket."""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Account", "Place"]


class Place(NamedTuple):
    """Where a message is."""

    topic: str
    epoch: str
    offset: int


class Account:
    """All messages of a run by their keys, each of which is published until it is acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, Place] = {}
        self.twice = 0
        """How often a reader had a message again."""
        self.disordered = 0
        """How often a reader had a message after a newer one of the same epoch."""
        self.heads: dict[tuple[str, str], Place] = {}
        """The last that each reader has had of each topic."""
        self._keys: dict[Place, str] = {}
        self._conflicts: set[Place] = set()
        self._received: dict[str, dict[str, Place]] = {}

    def __repr__(self) -> str:
        return f"<Account of {len(self.acknowledged)} messages>"

    def acknowledge(self, key: str, place: Place) -> None:
        """Take an answer to a publish, be it the first or a later one."""
        self._put(key, place)
        self.acknowledged.setdefault(key, place)

    def receive(self, reader: str, key: str, place: Place) -> None:
        """Take what a reader has got."""
        self._put(key, place)
        if self._received.setdefault(reader, {}).setdefault(key, place) is not place:
            self.twice += 1
        before = self.heads.get((reader, place.topic))
        if before is not None and before.epoch == place.epoch and place.offset <= before.offset:
            self.disordered += 1
        self.heads[reader, place.topic] = place

    def _put(self, key: str, place: Place) -> None:
        if self._keys.setdefault(place, key) != key:
            self._conflicts.add(place)

    @property
    def conflicts(self) -> int:
        """How many places have had two contents."""
        return len(self._conflicts)

    @property
    def moved(self) -> int:
        """How many messages are at more than one place."""
        return len(self._keys) - len(set(self._keys.values()))

    def missed(self, reader: str) -> set[str]:
        """Return the keys that were acknowledged, and that a reader has not got where it was said."""
        got = self._received.get(reader, {})
        return {key for key, place in self.acknowledged.items() if got.get(key) != place}

    def gone(self, reader: str, newest: Mapping[str, Place], ring: int) -> set[str]:
        """Return those that a reader of the end has missed, though rings of ``ring`` messages should have them."""
        missed = self.missed(reader)
        return {key for key in missed if _is_kept(self.acknowledged[key], newest, ring)}


def _is_kept(place: Place, newest: Mapping[str, Place], ring: int) -> bool:
    last = newest[place.topic]
    return place.epoch != last.epoch or place.offset > last.offset - ring
