"""In which order messages are meant to come: numbers are consecutive within a sequence, and not beyond.

A server that numbers messages itself has a sequence for each topic. Where the numbers are ours, each publisher of a
topic has its own: nobody promises an order between two publishers. A message is known by one integer, which has
the sequence above bit 44; a run of one sequence has 0 there, and so has a message whose sequence is not known.
"""

from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Final

__all__ = ["SHIFT", "Sequence", "first_of", "sequence_of", "sequences"]

SHIFT: Final = 44


@dataclass(frozen=True, slots=True)
class Sequence:
    """The messages of a topic, or those of one of its publishers."""

    index: int
    topic: str
    publisher: int | None = None

    @property
    def name(self) -> str:
        """What a person knows it by."""
        return self.topic if self.publisher is None else f"{self.topic} (publisher {self.publisher})"


def first_of(index: int) -> int:
    """Return what stands for the message before the first of a sequence."""
    return index << SHIFT


def sequence_of(number: int) -> int:
    """Return the sequence of a message; 0 where it is not known, or there is but one."""
    return number >> SHIFT


def sequences(topics: Many[str], publishers: int, *, ours: bool, first: int) -> list[list[Sequence]]:
    """Return for each topic its sequences, which are numbered from ``first`` on."""
    several = publishers if ours and publishers > 1 else 1
    return [
        [
            Sequence(first + place * several + publisher, topic, publisher if several > 1 else None)
            for publisher in range(several)
        ]
        for place, topic in enumerate(topics)
    ]
