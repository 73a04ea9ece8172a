"""The figures of what clients share: by pool, and never by client."""

from collections.abc import Callable, Iterable

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service.core.pool import PoolStatistics
from service.ops.metrics.families import counter_by, gauge_by
from service.ops.pools import Pools

__all__ = ["ShareCollector"]


class ShareCollector(Collector):
    """How full each pool is, how many clients have something of it, and how often one met its share."""

    def __init__(self, pools: Pools) -> None:
        self._pools = pools

    def collect(self) -> Iterable[Metric]:
        """Return the figures of now."""
        now = self._pools.statistics()

        def each(figure: Callable[[PoolStatistics], int]) -> dict[str, float]:
            return {name: figure(one) for name, one in now.items()}

        yield gauge_by("sluice_pool_bound", "What a pool has for all clients.", "pool", each(lambda one: one.bound))
        yield gauge_by("sluice_pool_used", "What all clients have of it.", "pool", each(lambda one: one.used))
        owners = each(lambda one: one.owners)
        yield gauge_by("sluice_pool_owners", "How many clients have something of it.", "pool", owners)
        text = "How often a client met its share: it was refused, had to wait, or gave something up."
        yield counter_by("sluice_pool_refusals", text, "pool", each(lambda one: one.refused))
