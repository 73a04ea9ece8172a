"""Every pool that clients share, in one place: for figures, and for the table in docs/operations.md."""

from collections.abc import Callable, Mapping

from service.core.pool import Pool, PoolStatistics
from service.core.topics.hub import Hub
from service.edge.access.middleware import AccessMiddleware
from service.edge.websocket.endpoint import WebSockets
from service.jobs.jobs import Jobs
from service.sources.batches import Batches
from service.sources.watches import Watches
from service.upstream.content.selection_process import Selector
from service.upstream.fetcher import Fetcher
from service.upstream.runner import Runner
from service.work.step_runner import StepRunner

__all__ = ["Pools", "pools_of"]


class Pools:
    """All pools by name; ``others`` return the statistics of those that are not a :class:`Pool`."""

    def __init__(self, *pools: Pool, **others: Callable[[], PoolStatistics]) -> None:
        self._statistics = {pool.name: pool.statistics for pool in pools} | others

    def __repr__(self) -> str:
        return f"<Pools {', '.join(self._statistics)}>"

    def statistics(self) -> Mapping[str, PoolStatistics]:
        """Return a snapshot of each."""
        return {name: statistics() for name, statistics in self._statistics.items()}


def pools_of(
    hub: Hub,
    access: AccessMiddleware,
    sockets: WebSockets,
    batches: Batches,
    watches: Watches,
    fetches: Runner,
    selector: Selector,
    fetcher: Fetcher,
    steps: StepRunner,
    jobs: Jobs,
    *more: Pool,
) -> Pools:
    """Return every pool of the service."""
    return Pools(
        sockets.pool,
        access.slots,
        hub.owners,
        hub.rings.pool,
        hub.pending_appends.pool,
        *hub.store.pools,
        hub.keys.pool,
        batches.lifecycle.pool,
        batches.lifecycle.queued,
        batches.retention.pool,
        batches.retention.finished.pool,
        batches.stored.pool,
        fetcher.reading,
        fetches.undelivered,
        watches.owners,
        selector.pool,
        fetcher.cache.pool,
        steps.pool,
        jobs.pool,
        batches.stepping.keys,
        *more,
        backlogs_size=sockets.stalled.statistics,
        upstream=fetches.plan.shares.statistics,
        upstream_host=fetches.hosts.statistics,
        lookups=fetcher.resolver.turns.statistics,
        step_places=steps.places,
        blobs_size=lambda: steps.kept()[0],
        blobs=lambda: steps.kept()[1],
        job_places=jobs.schedule.places,
    )
