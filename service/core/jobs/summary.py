"""The summary of a job: its state, when it is due or expires, and how many bytes it holds."""

from enum import StrEnum
from typing import Final

import msgspec

from service.core.jobs.lease import Lease
from service.core.jobs.request import Kind
from service.core.owner import Owner

__all__ = ["OVERHEAD", "JobState", "JobSummary"]

OVERHEAD: Final = 1024
"""Bytes that each job counts for in addition to its contents."""


class JobState(StrEnum):
    """Where a job is in its life."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether its run is over."""
        return self in _ENDED


_ENDED: Final = frozenset({JobState.DONE, JobState.FAILED, JobState.CANCELLED})


class JobSummary(msgspec.Struct, kw_only=True):
    """The fields of a job that a start reads; times are in seconds since 1970."""

    row: int
    owner: tuple[str, float, bool]
    """Name, weight, and whether it shares fetches."""
    kind: Kind
    due: float
    keep: float
    state: JobState = JobState.SCHEDULED
    ended: float | None = None
    key: str | None = None
    lease: Lease | None = None
    """The lease of the attempt that a worker elsewhere is making."""
    size: int = 0
    """Bytes of its request and of its events."""
    result: msgspec.Raw = msgspec.Raw(b"null")
    """JSON."""
    output: str | None = None
    """The output that its last attempt has printed."""

    def belongs_to(self) -> Owner:
        """Return the owner of the job."""
        name, weight, shares = self.owner
        return Owner(name, weight, shares_fetches=shares)

    @property
    def held(self) -> int:
        """Bytes that the job counts for."""
        return OVERHEAD + self.size + len(bytes(self.result)) + len(self.output or "")
