"""What the origin has seen: an exact ledger of its requests."""

from collections import Counter
from dataclasses import dataclass, field

import orjson

__all__ = ["RequestCounts"]


@dataclass(slots=True)
class RequestCounts:
    """Counts since the last reset; ``active`` are the requests whose answer is still to come."""

    kinds: Counter[str] = field(default_factory=Counter)
    conditional: int = 0
    not_modified: int = 0
    active: int = 0
    most_active: int = 0

    def document(self) -> bytes:
        """Return the ledger as JSON."""
        return orjson.dumps(
            {
                "requests": sum(self.kinds.values()),
                "kinds": self.kinds,
                "conditional": self.conditional,
                "not_modified": self.not_modified,
                "active": self.active,
                "most_active": self.most_active,
            }
        )

    def reset(self) -> None:
        """Begin a new page."""
        self.kinds.clear()
        self.conditional = self.not_modified = self.most_active = 0
