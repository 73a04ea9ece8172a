"""What the service tells Prometheus at ``/metrics``: read when it is asked for, and kept nowhere else."""

from service.ops.metrics.fanout import FanoutCollector
from service.ops.metrics.fetching import FetchingCollector
from service.ops.metrics.jobs import JobCollector
from service.ops.metrics.load import LoadCollector
from service.ops.metrics.pipelines import PipelineCollector
from service.ops.metrics.process import ProcessCollector
from service.ops.metrics.routes import MetricsRoutes
from service.ops.metrics.shares import ShareCollector
from service.ops.metrics.storage import StorageCollector
from service.ops.metrics.work import WorkCollector

__all__ = [
    "FanoutCollector",
    "FetchingCollector",
    "JobCollector",
    "LoadCollector",
    "MetricsRoutes",
    "PipelineCollector",
    "ProcessCollector",
    "ShareCollector",
    "StorageCollector",
    "WorkCollector",
]
