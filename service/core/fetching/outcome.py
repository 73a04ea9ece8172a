"""The outcome of a URL, and of the question whether it may start."""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

import msgspec
import orjson

from service.core.fetching.target import Target

__all__ = ["INTERNAL", "NO_MEMORY", "Failure", "FailureKind", "Fetched", "Permit"]

FailureKind = Literal[
    "invalid_url", "invalid_request", "blocked", "dns", "connect", "tls", "timeout", "protocol", "redirects",
    "too_large", "cancelled", "unavailable", "step_failed", "storage",
]  # fmt: skip


class Permit(Enum):
    """The answer of a listener whose URLs do not fail."""

    START = "one more URL may start"
    HOLD = "none may start until the engine is asked to wake the group"


class Fetched(msgspec.Struct):
    """An answer of any status."""

    status: int
    target: Target
    """What was asked last: where redirects have led."""
    headers: dict[str, str]
    body: bytes
    truncated: bool
    timing: dict[str, float] = {}
    """In milliseconds."""
    cache: Literal["miss", "hit", "revalidated"] = "miss"
    encoded: dict[str, tuple[str | None, str | orjson.Fragment | None]] | None = None
    """``encoding`` and ``body`` of events by ``options.body``: of a large body, made before it is delivered."""
    head_size: int | None = None
    """Characters of the head that came, where the headers are its own: names and values have no more."""

    @property
    def content_type(self) -> str | None:
        """What the answer says its body is; charset.py reads it."""
        return self.headers.get("content-type")


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a URL has no result; an expected outcome, so a value."""

    kind: FailureKind
    detail: str
    retry_after: float | None = None
    temporary: bool = False
    """Whether another attempt may well succeed, of a kind of which that is not always so."""
    step: str | None = None
    """The step that failed."""
    steps: tuple[bytes, ...] = ()
    """The results of the steps before it, as JSON."""


INTERNAL: Final = Failure("protocol", "internal error (logged)")
"""The message for a URL that a bug in sluice ended; the log has the rest."""

NO_MEMORY: Final = Failure("unavailable", "timed out while the service was short of memory", temporary=True)
"""The outcome of a URL for which there was no memory until its deadline."""
