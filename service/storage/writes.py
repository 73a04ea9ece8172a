"""What the writer stores."""

from typing import Protocol

from service.core.errors import SluiceError
from service.storage.database import RowChanges

__all__ = ["LastingWrite", "Write"]


class Write(Protocol):
    """Something to be stored, whole or not at all."""

    @property
    def size(self) -> int:
        """Bytes that it holds while it waits."""
        ...

    @property
    def count(self) -> int:
        """How many changes it counts as."""
        ...

    def prepare(self, changes: RowChanges) -> None:
        """Add what it changes; all before it have ended."""
        ...

    def committed(self) -> None:
        """Go on: it is stored."""
        ...

    def refused(self, error: SluiceError) -> None:
        """Give it up: no part of it is stored."""
        ...


class LastingWrite(Write, Protocol):
    """Something that is tried again when its commit has failed; it is refused only where it cannot be prepared."""

    def postponed(self) -> None:
        """Take back what :meth:`prepare` did: the commit failed."""
        ...
