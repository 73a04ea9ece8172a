"""What the settings say of the data directory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["DataOptions"]


@dataclass(frozen=True, slots=True)
class DataOptions:
    """What is kept and how, from the settings; ``key_age`` is for how many seconds keys are kept."""

    path: Path | None
    sync: Literal["full", "normal"]
    volatile: Sequence[str]
    key_age: float
