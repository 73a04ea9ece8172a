"""The families that ``prometheus_client`` exposes, made from what our own objects count."""

from collections.abc import Iterable, Mapping
from math import inf

from prometheus_client.core import CounterMetricFamily as Counter
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.core import HistogramMetricFamily

from service.core.histogram import Histogram

__all__ = ["Counter", "Gauge", "buckets", "counter_by", "gauge_by", "histogram", "histogram_by"]


def counter_by(
    name: str, text: str, label: str, counts: Mapping[str, float], always: Iterable[str] = ()
) -> Counter:
    """Return a counter with a label; the values in ``always`` are there from the start, as 0.

    An alarm on a rate cannot see the step from no series to 1.
    """
    family = Counter(name, text, labels=[label])
    for value in sorted({*counts, *always}):
        family.add_metric([value], counts.get(value, 0))
    return family


def gauge_by(name: str, text: str, label: str, values: Mapping[str, float]) -> Gauge:
    """Return a gauge with a label."""
    family = Gauge(name, text, labels=[label])
    for value, figure in values.items():
        family.add_metric([value], figure)
    return family


def histogram(name: str, text: str, values: Histogram) -> HistogramMetricFamily:
    """Return a classic histogram."""
    return HistogramMetricFamily(name, text, buckets(values), values.sum)


def histogram_by(name: str, text: str, label: str, values: Mapping[str, Histogram]) -> HistogramMetricFamily:
    """Return a classic histogram for each value of a label."""
    family = HistogramMetricFamily(name, text, labels=[label])
    for value, counted in values.items():
        family.add_metric([value], buckets(counted), counted.sum)
    return family


def buckets(values: Histogram) -> list[tuple[str, float]]:
    """Return the buckets of a classic histogram."""
    return [("+Inf" if bound == inf else str(bound), count) for bound, count in values.cumulative()]
