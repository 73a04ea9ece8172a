"""Who holds most, within a factor of two, at a cost that does not grow with the number of owners."""

from collections.abc import Callable
from typing import Final

from service.core.owner import Owner

__all__ = ["OwnerRanking"]

_CLASSES: Final = 64


class OwnerRanking:
    """Owners by the power of two of what they hold; of those of one power, the first that was seen to hold so much.

    Changes are many, and questions few: it asks ``held`` of those in ``changed`` when it is asked itself.
    """

    __slots__ = ("_classes", "_held", "_powers", "changed")

    def __init__(self, held: Callable[[Owner], int]) -> None:
        self.changed: dict[Owner, None] = {}
        """Owners that hold more or less than when they were looked at last. Who changes that enters them."""
        self._held = held
        self._powers: dict[Owner, int] = {}
        self._classes: tuple[dict[Owner, None], ...] = tuple({} for _ in range(_CLASSES))

    def __repr__(self) -> str:
        return f"<OwnerRanking {len(self._powers)} owners, {len(self.changed)} changed>"

    def top(self) -> Owner:
        """Return an owner that holds at least half as much as any other; there has to be one."""
        for owner in self.changed:
            power = self._held(owner).bit_length()
            if power != self._powers.get(owner):
                self._remove(owner)
                self._powers[owner] = power
                self._classes[power][owner] = None
        self.changed.clear()
        return next(owner for owners in reversed(self._classes) for owner in owners)

    def forget(self, owner: Owner) -> None:
        """Leave out an owner that holds nothing any more."""
        self.changed.pop(owner, None)
        self._remove(owner)

    def _remove(self, owner: Owner) -> None:
        power = self._powers.pop(owner, None)
        if power is not None:
            del self._classes[power][owner]
