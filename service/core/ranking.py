"""Who holds most, within a factor of two, at a cost that does not grow with the number of owners."""

from typing import Final

from service.core.owner import Owner

__all__ = ["Ranking"]

_CLASSES: Final = 64


class Ranking:
    """Owners by the power of two of what they hold; of those of one power, the first to reach it."""

    __slots__ = ("_classes",)

    def __init__(self) -> None:
        self._classes: tuple[dict[Owner, None], ...] = tuple({} for _ in range(_CLASSES))

    def __repr__(self) -> str:
        return f"<Ranking {sum(map(len, self._classes))} owners>"

    def move(self, owner: Owner, before: int, after: int) -> None:
        """Take note that an owner held so much, and holds so much now."""
        old, new = before.bit_length(), after.bit_length()
        if old != new:
            if old:
                del self._classes[old][owner]
            if new:
                self._classes[new][owner] = None

    def top(self) -> Owner:
        """Return an owner than which nobody holds twice as much; there has to be one."""
        return next(owner for owners in reversed(self._classes) for owner in owners)
