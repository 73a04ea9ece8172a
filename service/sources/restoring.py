"""A batch of before a restart, as it was: what has ended keeps its events, and only the rest is wanted."""

from itertools import accumulate

from service.core.batch_store import KeptBatch
from service.core.fetching.batch import Batch
from service.core.fetching.task import FetchListener
from service.core.topics.hub import Hub

__all__ = ["state_of"]


def state_of(kept: KeptBatch, hub: Hub, listener: FetchListener[Batch]) -> Batch:
    """Return the state of a batch that a store has kept, and make its topic."""
    topic = hub.log(f"batch:{kept.id}", kept.owner, restored=True)
    batch = Batch(
        kept.id, topic, kept.owner, kept.keep, kept.items, kept.options, kept.started, listener, kept.key,
        kept.hosts, kept.share, kept.correlation,
    )  # fmt: skip
    batch.recall(kept.outcomes)
    batch.sums = list(accumulate(kept.sizes))
    batch.cancelled = kept.cancelled
    if kept.ended is not None:
        batch.done, batch.elapsed_ms = True, kept.elapsed_ms
    return batch
