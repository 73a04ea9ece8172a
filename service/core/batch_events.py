"""What is said of batches, as types: their events, documents and states; ``events.py`` has all that is said."""

from typing import Annotated, Any, Literal

import msgspec

from service.core.fetching.outcome import FailureKind

__all__ = ["BatchDocument", "BatchStatus", "Counted", "Counts", "Done", "Failed", "NonNegative", "Places",
           "Progress", "Result", "Said", "Timing"]  # fmt: skip

NonNegative = Annotated[int, msgspec.Meta(ge=0)]


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """Fields may be added in time: clients ignore what they do not know, and tests do not."""


class Timing(Said):
    """Milliseconds; what did not happen is 0 or missing."""

    queued: float = 0.0
    dns: float = 0.0
    connect: float = 0.0
    first_byte: float = 0.0
    total: float = 0.0


class Result(Said, tag_field="event", tag="result"):
    """A URL was answered, with any status."""

    index: NonNegative
    url: str
    final_url: str
    status: int
    headers: dict[str, str]
    bytes: int
    truncated: bool
    attempts: NonNegative
    cache: Literal["miss", "hit", "revalidated", "shared"]
    timing: Timing
    encoding: str | msgspec.UnsetType | None = msgspec.UNSET
    body: str | msgspec.UnsetType | None = msgspec.UNSET
    """Both are left out where there are steps, unless ``options.body`` asks for them."""
    headers_truncated: bool | msgspec.UnsetType = msgspec.UNSET
    """There, and true, where headers beyond 16 KiB were left out."""
    steps: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    """The result of each of ``options.steps``, in order; each has its name as ``step``."""


class Failed(Said, tag_field="event", tag="failed"):
    """A URL was not answered."""

    index: NonNegative
    url: str
    error: FailureKind
    detail: str
    attempts: NonNegative
    timing: Timing
    retry_after: float | msgspec.UnsetType = msgspec.UNSET
    step: str | msgspec.UnsetType = msgspec.UNSET
    """Which step could not process the body."""
    steps: list[dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    """The results of the steps before it."""


class Counted(Said):
    """A key, and in how many lines it came."""

    key: str
    count: NonNegative


class Counts(Said):
    """What the step ``count`` found in all bodies of a batch together."""

    lines: NonNegative
    skipped: NonNegative
    """Lines without a key."""
    keys: NonNegative
    """How many keys differ; a lower bound where the counts are not exact."""
    exact: bool
    error_bound: NonNegative
    """The most by which a count may be too low."""
    top: list[Counted]
    missed: int | msgspec.UnsetType = msgspec.UNSET
    """Results from before a restart, whose keys are not counted."""


class Progress(Said, tag_field="event", tag="progress"):
    """What a batch has counted so far; at most once a second."""

    counts: Counts


class Done(Said, tag_field="event", tag="done"):
    """Every URL of the batch has had its event."""

    total: int
    ok: int
    failed: int
    by_status: dict[str, int]
    elapsed_ms: float
    counts: Counts | msgspec.UnsetType = msgspec.UNSET


class BatchDocument(Said):
    """All results of a batch, in the order of its URLs."""

    batch: str
    total: int
    ok: int
    failed: int
    by_status: dict[str, int]
    elapsed_ms: float | None
    results: list[Result | Failed]
    counts: Counts | msgspec.UnsetType = msgspec.UNSET


class Places(Said):
    """Milliseconds of all URLs together, by the place where they were spent."""

    network: float
    loop: float
    threads: float
    processes: float
    waiting: float


class BatchStatus(Said):
    """How far a batch is."""

    batch: str
    topic: str
    epoch: str
    state: Literal["running", "cancelling", "done"]
    total: int
    ok: int
    failed: int
    by_status: dict[str, int]
    elapsed_ms: float | None
    time_ms: Places
    counts: Counts | msgspec.UnsetType = msgspec.UNSET
