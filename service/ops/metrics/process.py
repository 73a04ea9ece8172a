"""The figures of the process itself, beside those that Prometheus' client knows of any process."""

import asyncio
import platform
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Final

from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from service import __version__
from service.ops.loop_lag import LoopLag
from service.ops.metrics.families import Gauge, counter_by, histogram
from service.ops.process import sockets
from service.runtime.supervisor import Supervisor

__all__ = ["ProcessCollector"]

_BUILD: Final = {
    "version": __version__, "python": platform.python_version(), "aiohttp": version("aiohttp"),
    "uvloop": version("uvloop"),
}  # fmt: skip


class ProcessCollector(Collector):
    """What runs, how its loop keeps up, and what the kernel holds for it."""

    def __init__(self, lag: LoopLag, supervisor: Supervisor, draining: Callable[[], bool]) -> None:
        self._lag = lag
        self._supervisor = supervisor
        self._draining = draining

    def collect(self) -> Iterable[Metric]:
        """Return the figures of now."""
        yield InfoMetricFamily("sluice_build", "The versions that run.", _BUILD)
        yield Gauge("sluice_draining", "1 while the service shuts down.", int(self._draining()))
        yield Gauge(
            "sluice_tasks", "Tasks of the loop: one for each connection, and a few more.", len(asyncio.all_tasks())
        )
        text = "Failures of background work, by its name (other: of one item)."
        yield counter_by("sluice_task_failures", text, "task", self._supervisor.failures)
        yield Gauge(
            "sluice_loop_lag_seconds", "The longest that the loop was late in the last second.", self._lag.worst
        )
        yield histogram(
            "sluice_loop_delay_seconds", "How late the loop was, sampled ten times a second.", self._lag.delays
        )
        yield Gauge("sluice_kernel_socket_bytes", "Kernel memory of all TCP sockets of the machine.", sockets())
