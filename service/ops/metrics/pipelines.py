"""The figures of pipelines, by stage."""

from collections.abc import Iterable

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from service.ops.metrics.families import Counter, Gauge, buckets
from service.work.pipelines.pipelines import Pipelines

__all__ = ["PipelineCollector"]

_STAGE = ("pipeline", "stage")


class PipelineCollector(Collector):
    """What waits and runs in each stage, how many items it had, and how long they took."""

    def __init__(self, pipelines: Pipelines) -> None:
        self._pipelines = pipelines

    def collect(self) -> Iterable[Metric]:
        """Return the figures of now."""
        runs = Gauge("sluice_pipeline_runs", "Clients of each pipeline.", labels=["pipeline"])
        dropped = Counter("sluice_pipeline_dropped", "Items dropped at the entrance.", labels=["pipeline"])
        cut = Counter("sluice_pipeline_cut", "Clients cut that took none of their outputs.", labels=["pipeline"])
        waiting = Gauge("sluice_pipeline_waiting", "Items that wait for a stage.", labels=_STAGE)
        running = Gauge("sluice_pipeline_running", "Items that are in a stage.", labels=_STAGE)
        items = Counter("sluice_pipeline_items", "Items that a stage has had.", labels=[*_STAGE, "outcome"])
        seconds = HistogramMetricFamily("sluice_pipeline_seconds", "How long items were in a stage.", labels=_STAGE)
        for name, pipeline in self._pipelines.declared.items():
            runs.add_metric([name], len(pipeline.runs))
            dropped.add_metric([name], pipeline.figures.dropped)
            cut.add_metric([name], pipeline.figures.cut)
            for stage, found in pipeline.statistics().items():
                waiting.add_metric([name, stage], found.waiting)
                running.add_metric([name, stage], found.figures.running)
                for outcome, count in found.figures.outcomes.items():
                    items.add_metric([name, stage, outcome], count)
                seconds.add_metric([name, stage], buckets(found.figures.seconds), found.figures.seconds.sum)
        return runs, dropped, cut, waiting, running, items, seconds
