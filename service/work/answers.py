"""What is said of steps over HTTP."""

from typing import Any

import msgspec

from service.core.events import Counts
from service.work.step import Place

__all__ = ["StepDescription", "StepList", "StepResults"]


class StepResults(msgspec.Struct, frozen=True):
    """The outcome of each step, in order; each has its name as ``step``."""

    steps: list[dict[str, Any]]
    counts: Counts | msgspec.UnsetType = msgspec.UNSET
    """What a count step found."""


class StepDescription(msgspec.Struct, frozen=True):
    """A step: the JSON Schema of its parameters, and whether it runs in a thread or a process."""

    name: str
    parameters: dict[str, Any]
    runs: Place


class StepList(msgspec.Struct, frozen=True):
    """All steps."""

    steps: list[StepDescription]
