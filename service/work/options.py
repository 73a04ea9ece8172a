"""What an operator says of steps and blobs."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["StepOptions"]


@dataclass(frozen=True, slots=True)
class StepOptions:
    """Sizes in bytes, times in seconds."""

    blobs: Path | None = None
    """Where blobs are kept; without it there are none."""
    blobs_size: int = 10 << 30
    modules: tuple[str, ...] = ()
    """With steps of an operator's own."""
    time: float = 60.0
    """For one step of one body."""
    memory: int = 1 << 30
    """Of one worker process."""
    processes: int = 1
    bodies: int = 256 << 20
    """Of all bodies whose steps wait or run."""
