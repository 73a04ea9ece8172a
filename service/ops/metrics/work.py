"""The figures of steps and blobs."""

from collections.abc import Iterable

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from service.ops.metrics.families import Counter, Gauge, gauge_by
from service.work.step_runner import StepRunner

__all__ = ["WorkCollector"]


class WorkCollector(Collector):
    """What steps run and wait, and what is kept of them."""

    def __init__(self, steps: StepRunner) -> None:
        self._steps = steps

    def collect(self) -> Iterable[Metric]:
        """Return the figures of now."""
        figures = self._steps.statistics()
        yield gauge_by("sluice_steps_running", "Steps that run, by place.", "place", figures.running)
        yield gauge_by("sluice_steps_waiting", "Steps that wait for a place.", "place", figures.waiting)
        done = Counter("sluice_steps", "Steps carried out, by name and outcome.", labels=["step", "outcome"])
        for labels, count in figures.done.items():
            done.add_metric(labels, count)
        yield done
        yield Counter(
            "sluice_step_processes_replaced",
            "Processes that ended under a step, or were ended since it took too long.",
            figures.replaced,
        )
        if figures.blobs is not None:
            yield Gauge("sluice_blobs", "Blobs that are kept.", figures.blobs.count)
            yield Gauge("sluice_blobs_bytes", "Bytes of all blobs.", figures.blobs.size)
            yield Counter("sluice_blobs_saved", "Blobs that were written.", figures.blobs.saved)
            yield Counter("sluice_blobs_evicted", "Blobs that gave way to others.", figures.blobs.evicted)
