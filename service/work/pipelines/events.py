"""The text messages of a pipeline's WebSocket, beside the binary ones, which are items."""

from typing import Final

import msgspec

__all__ = [
    "EVENTS",
    "ClosingEvent",
    "DroppedEvent",
    "End",
    "ErrorEvent",
    "ItemFailedEvent",
    "PipelineEvent",
    "UnpublishedEvent",
]


class PipelineEvent(msgspec.Struct, frozen=True, tag_field="event"):
    """What the service sends."""


class DroppedEvent(PipelineEvent, frozen=True, tag="dropped"):
    """So many items before the next one were dropped."""

    count: int


class ItemFailedEvent(PipelineEvent, frozen=True, tag="failed"):
    """The next item failed in a stage."""

    item: int
    detail: str


class UnpublishedEvent(PipelineEvent, frozen=True, tag="unpublished"):
    """The line of an item could not be published; the item itself came out before."""

    item: int
    detail: str


class ClosingEvent(PipelineEvent, frozen=True, tag="closing"):
    """Nothing more is taken: the service shuts down. What is under way comes out."""

    reason: str
    retry_after: float


class ErrorEvent(PipelineEvent, frozen=True, tag="error"):
    """The text that was sent is not known."""

    detail: str


class End(msgspec.Struct, frozen=True, tag_field="event", tag="end"):
    """What a client sends to end its input: what is under way comes out, then the connection closes with 1000."""


EVENTS: Final[dict[str, type[PipelineEvent]]] = {
    "dropped": DroppedEvent,
    "failed": ItemFailedEvent,
    "unpublished": UnpublishedEvent,
    "closing": ClosingEvent,
    "error": ErrorEvent,
}
"""All that the service sends, by name."""
