"""What the service tells Prometheus at ``/metrics``: read when it is asked for, and kept nowhere else."""

from service.metrics.fanout import FanoutFigures
from service.metrics.fetching import FetchingFigures
from service.metrics.load import LoadFigures
from service.metrics.process import ProcessFigures
from service.metrics.routes import MetricsRoutes

__all__ = ["FanoutFigures", "FetchingFigures", "LoadFigures", "MetricsRoutes", "ProcessFigures"]
