"""A batch whose owner has used up its share of memory or disk: its fields in the log, and why its URLs fail."""

from service.core.fetching.batch import Batch
from service.core.fetching.outcome import Failure
from service.core.fetching.task import asker_of
from service.core.pool import Pool

__all__ = ["share_fields", "too_large"]


def share_fields(batch: Batch, pool: Pool) -> dict[str, object]:
    """Return who reads a batch, and how much its owner holds of its share."""
    return {
        "batch": asker_of(batch),
        "readers": len(batch.topic.readers),
        "held_bytes": pool.held(batch.owner),
        "share_bytes": pool.share(batch.owner),
    }


def too_large(batch: Batch, pool: Pool, what: str, advice: str) -> Failure:
    """Say ``what`` uses up the share of a batch's owner, and what its client can do about it."""
    return Failure(
        "too_large",
        f"limit {pool.name}: {what} use up its share, {pool.share(batch.owner)} of {pool.bound} bytes; "
        f"{advice}, lower max_bytes, or split the batch",
    )
