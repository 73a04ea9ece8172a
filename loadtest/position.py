"""Where a reader is in a topic, as its server knows it."""

from dataclasses import dataclass

__all__ = ["Position"]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a subscription starts: messages are expected from ``offset + 1`` on."""

    epoch: str = ""
    offset: int = 0
    recovered: bool | None = None
    """Whether everything since the position that was shown comes; None where the server does not say."""
    mark: str = ""
    """What a client shows when it comes back, where that is not ``epoch`` and ``offset``."""
