"""What an endpoint of WebSockets has done."""

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["WebSocketCounters"]


@dataclass(slots=True)
class WebSocketCounters:
    """Totals since the start."""

    made: int = 0
    """Connections."""
    received: int = 0
    answered: int = 0
    """Messages from clients, and answers to them."""
    closed: Counter[int] = field(default_factory=Counter)
    """Connections that were closed from here, by code."""
