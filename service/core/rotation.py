"""Whose turn it is, by what each has cost: deficit round robin.

A turn is worth ``quantum``. Who costs more is in debt, and sits out as many turns as that takes (Shreedhar and
Varghese, SIGCOMM 1995). One alone has no debts.
"""

from collections import deque
from typing import Generic, Protocol, TypeVar

__all__ = ["Rotation"]


class _Member(Protocol):
    credit: int
    """What is left of its turn; 0 or less where it is in debt, or has none yet."""


Member = TypeVar("Member", bound=_Member)


class Rotation(Generic[Member]):
    """All who want a turn; true while anyone does."""

    __slots__ = ("_quantum", "_ring")

    def __init__(self, quantum: int) -> None:
        self._quantum = quantum
        self._ring: deque[Member] = deque()

    def __len__(self) -> int:
        return len(self._ring)

    @property
    def first(self) -> Member:
        """Whose turn it is; only while anyone wants one."""
        ring = self._ring
        if ring[0].credit <= 0:
            self._begin_turn()
        return ring[0]

    def enter(self, member: Member) -> None:
        """Take in one who wants turns, as the last."""
        self._ring.append(member)

    def leave(self) -> None:
        """Take out the one whose turn it is."""
        member = self._ring.popleft()
        member.credit = min(member.credit, 0)

    def spend(self, cost: int) -> None:
        """Charge the one whose turn it is; its turn is over once what that is worth is spent."""
        ring = self._ring
        if ring[0].credit <= 0:
            self._begin_turn()
        ring[0].credit -= cost
        if ring[0].credit <= 0:
            ring.rotate(-1)

    def _begin_turn(self) -> None:
        """Find who has credit in its next turn: those in debt sit theirs out."""
        ring = self._ring
        if len(ring) == 1:
            ring[0].credit = self._quantum
            return
        ring[0].credit += self._quantum
        while ring[0].credit <= 0:
            ring.rotate(-1)
            ring[0].credit += self._quantum
