"""Why a selection found nothing."""

from typing import Literal

__all__ = ["NothingThere", "SelectFailed", "SelectKind"]

SelectKind = Literal["protocol", "too_large", "unavailable"]
"""A kind of failure in the contract: ``unavailable`` is not the page's fault."""


class SelectFailed(Exception):
    """The body is not of the kind that the selection is meant for, or has nothing there."""

    def __init__(self, detail: str, kind: SelectKind = "protocol") -> None:
        super().__init__(detail)
        self.kind = kind


class NothingThere(SelectFailed):
    """The document has nothing at the place that a JSON Pointer names."""
