"""What the functions of a pipeline get, return and raise."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.work.step import StepFailed

__all__ = ["ItemFailed", "Output"]


class ItemFailed(StepFailed):
    """An item that a stage cannot process; the text says why, for the client."""


@dataclass(frozen=True, slots=True)
class Output:
    """A value for the next stage, with facts for the item's line on the topic: ``Output(jpeg, {"faces": 2})``."""

    value: Any
    facts: Mapping[str, Any] = field(default_factory=dict)
