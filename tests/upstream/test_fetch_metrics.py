"""Each request counts once, under the outcome of it, and its phases where it had them."""

from typing import Any

from service.core.fetching.outcome import Failure, Fetched
from service.core.fetching.target import Target
from service.upstream.fetch_metrics import FetchMetrics

TARGET = Target("http://a/", "http", "a", 80, "http://a:80", "/")


def fetched(status: int, **more: Any) -> Fetched:
    timing = {"dns": 0.0, "connect": 0.0, "first_byte": 20.0, "total": 30.0}
    return Fetched(status, TARGET, {}, b"", False, **{"timing": timing, **more})


def counts(metrics: FetchMetrics) -> dict[str, int]:
    return {name: sum(histogram.counts) for name, histogram in metrics.phases.items()}


def test_outcomes_are_classes_of_status_or_kinds_of_failure() -> None:
    metrics = FetchMetrics()
    for outcome in (fetched(200), fetched(204), fetched(404), fetched(200, cache="revalidated"),
                    fetched(200, cache="hit"), Failure("connect", "refused")):  # fmt: skip
        metrics.ended(outcome, 0.03)
    metrics.abandoned()
    assert metrics.outcomes == {"2xx": 2, "4xx": 1, "3xx": 1, "stale": 1, "connect": 1, "cancelled": 1}
    assert counts(metrics)["total"] == 6


def test_a_connection_that_was_kept_had_no_look_up_and_no_connect() -> None:
    metrics = FetchMetrics()
    metrics.began(0.5)
    metrics.ended(fetched(200), 0.03)
    metrics.ended(fetched(200, timing={"dns": 1.0, "connect": 2.0, "first_byte": 5.0, "total": 9.0}), 0.009)
    assert counts(metrics) == {"queued": 1, "dns": 1, "connect": 1, "first_byte": 2, "total": 2}
    assert metrics.phases["first_byte"].sum == 0.025
    assert metrics.phases["queued"].sum == 0.5


def test_times_are_counted_a_thousand_at_a_time_and_whenever_somebody_looks() -> None:
    metrics = FetchMetrics()
    for _ in range(2500):
        metrics.began(0.5)
        metrics.ended(fetched(200), 0.03)
        assert max(len(metrics._queued), len(metrics._took), len(metrics._timings)) <= 1000
    assert counts(metrics) == {"queued": 2500, "dns": 0, "connect": 0, "first_byte": 2500, "total": 2500}
    assert counts(metrics)["total"] == 2500


def test_what_waits_to_be_counted_is_bounded_without_first_tries_and_without_ends() -> None:
    metrics = FetchMetrics()
    for _ in range(2500):
        metrics.ended(fetched(200), 0.03)
        assert max(len(metrics._took), len(metrics._timings)) <= 1000
    for _ in range(2500):
        metrics.began(0.5)
        metrics.abandoned()
        assert len(metrics._queued) <= 1000
    assert counts(metrics) == {"queued": 2500, "dns": 0, "connect": 0, "first_byte": 2500, "total": 2500}
