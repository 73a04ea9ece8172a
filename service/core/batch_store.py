"""The port of what is kept of batches, beside the events in their topics."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from service.core.access.grants import HostPatterns
from service.core.correlation import Correlation
from service.core.fetching.batch import Batch, IdempotencyKey, Keep
from service.core.fetching.request import FetchRequest, Options
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.ports import UrlOutcome

__all__ = ["BatchStore", "KeptBatch", "MemoryBatches"]


@dataclass(frozen=True, slots=True)
class KeptBatch:
    """What a store has of a batch; times are the hub's clock, and may lie before its beginning."""

    id: str
    owner: Owner
    keep: Keep
    cancelled: bool
    items: list[FetchRequest] | list[str]
    """As many as there were; empty strings once it is done."""
    options: Options
    started: float
    key: IdempotencyKey | None
    hosts: HostPatterns
    share: int | None
    correlation: Correlation | None
    outcomes: Sequence[UrlOutcome]
    """Of its events, in order of their offsets."""
    sizes: Sequence[int]
    """Bytes of its events."""
    damaged: Sequence[int] = ()
    """Items that are not what they were."""
    ended: float | None = None
    """When its last event was stored."""
    elapsed_ms: float = 0.0


class BatchStore(Protocol):
    """Where batches are kept; their events are in their topics, which the topic store has.

    Called on the loop's thread alone; no method blocks or raises. A method returns None where the caller need not
    wait, else a ``Pending`` that the store settles once, on the loop's thread and after the call has returned: with
    the batch itself, or with the StorageFailed that refuses it. Answers about one batch come in the order of the
    calls. What is refused leaves nothing behind. A call cannot be cancelled: its answer comes even if nobody waits
    for it any more.

    The caller makes the topic first, calls ``begin`` once, and the other two only for a batch that was begun. A
    store reads the batch during the call, and does not change it. Times are in seconds, by the hub's clock. What is
    kept of a batch is deleted together with its topic, when that expires in the topic store.
    """

    outlives: bool
    """Whether a batch goes on after a restart."""

    def begin(self, batch: Batch) -> Pending[Batch] | None:
        """Keep a batch that begins; it is not accepted before the answer has come."""
        ...

    def change(self, batch: Batch, keep: Keep, *, cancelled: bool) -> Pending[Batch] | None:
        """Keep who keeps it alive, and whether it was cancelled; if that is refused, the earlier state stays."""
        ...

    def end(self, batch: Batch) -> None:
        """Forget what it has asked for: its last event is stored. A repeated or late call does no harm."""
        ...


class MemoryBatches:
    """The store of batches of a service that keeps nothing on disk: a batch exists in memory alone."""

    outlives = False

    def begin(self, batch: Batch) -> None:
        """Accept it at once."""

    def change(self, batch: Batch, keep: Keep, *, cancelled: bool) -> None:
        """Accept it at once."""

    def end(self, batch: Batch) -> None:
        """Forget nothing: the batch does."""
