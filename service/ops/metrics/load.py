"""The figures of overload, and of what is done about it."""

from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service.ops.metrics.families import Counter, Gauge
from service.ops.overload_controller import OverloadController

__all__ = ["LoadCollector"]


class LoadCollector(Collector):
    """How much is too much, and whom that cost what."""

    def __init__(self, controller: OverloadController) -> None:
        self._controller = controller

    def collect(self) -> Iterable[Metric]:
        """Return the figures of now."""
        level = "What is done about overload: 0 nothing, 1 fetches slowed, 2 connections refused, 3 readers shed."
        yield Gauge("sluice_overload_level", level, self._controller.level)
        yield Counter("sluice_shed", "Readers that were cut because of overload.", self._controller.shed)
