"""What the plots of a page show: figures over the seconds of the run, and how latencies are distributed."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from loadtest.measures import LOAD, connecting_last, latency_figure, words
from loadtest.page.columns import Columns
from loadtest.plots import nines
from loadtest.report import Judgement, RunReport
from loadtest.thresholds import parse_threshold

__all__ = ["Bound", "Plot", "Plots", "Series", "plots_of"]

_MOMENTS = 3
"""Seconds that have to have a figure for it to be drawn as a line; what was there more shortly is in the tables."""
_MOST_PLOTS = 60
"""Plots over time, and of latencies: a scenario of one's own may count thousands of things."""
_FEW = 20
"""Latencies below which a distribution has no shape."""
_MOST_BOUNDS = 5
"""Thresholds of one plot; the table has all."""
_CLIENTS, _SERVER, _OWN, _PLAN = "The clients", "The server", "The load generator", "The plan"
_DISTRIBUTION = "Latencies"
_GAUGES = {
    "clients": (_CLIENTS, "clients connected"),
    "server_cpu_percent": (_SERVER, "CPU of the server, % of a core"),
    "server_rss_mib": (_SERVER, "resident memory of the server, MiB"),
    "kernel_tcp_mib": (_SERVER, "kernel memory of all TCP sockets here, MiB"),
    "server_lag_ms": (_SERVER, "event-loop lag of the server, ms"),
    "server_fds": (_SERVER, "file descriptors of the server"),
    "server_connections": (_SERVER, "connections, as the server counts them"),
    "server_stalled": (_SERVER, "stalled connections"),
    "server_fetches": (_SERVER, "fetches under way"),
    "own_cpu_percent": (_OWN, "CPU of the generator, % of a core"),
    "own_lag_ms": (_OWN, "event-loop lag of the generator, ms"),
    "own_rss_mib": (_OWN, "resident memory of the generator, MiB"),
}


@dataclass(frozen=True, slots=True)
class Series:
    """One line; None where nothing was measured."""

    name: str
    values: list[float | None]


@dataclass(frozen=True, slots=True)
class Bound:
    """A threshold on what a plot shows."""

    text: str
    value: float
    passed: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot over time (``kind`` is ``time``), of a histogram (``bars``) or of percentiles (``curve``).

    Over time, ``x`` is that of all of them; bars have their edges in it, curves percentiles, spread by their nines.
    """

    key: str
    group: str
    title: str
    kind: str
    series: list[Series]
    x: list[float] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plots:
    """All plots of a page; those over time have one time line."""

    at: list[float]
    stride: int
    """Two points stand for twice as many seconds of the run; 1 where every second has its own point."""
    errors: list[float]
    """How many errors there were at each point."""
    plots: list[Plot]
    cut: bool = False
    """Whether there are more than a page can show."""


def plots_of(report: RunReport, columns: Columns, judgements: Sequence[Judgement]) -> Plots:
    """Return everything that can be drawn of a report, its time line from ``columns`` that have taken it."""
    bounds = _bounds(judgements)
    timed = list(islice(_over_time(report, columns, bounds), _MOST_PLOTS + 1))
    others = list(islice(_distributions(report, bounds), _MOST_PLOTS + 1))
    errors = [value or 0 for value in columns.column("errors")]
    shown = [_masked(plot, report) for plot in (*timed[:_MOST_PLOTS], *others[:_MOST_PLOTS])]
    return Plots(columns.times, columns.stride, errors, shown, cut=max(len(timed), len(others)) > _MOST_PLOTS)


def _masked(plot: Plot, report: RunReport) -> Plot:
    masked = report.secrets.masked
    return replace(
        plot, key=masked(plot.key), title=masked(plot.title),
        series=[replace(series, name=masked(series.name)) for series in plot.series],
        bounds=[replace(bound, text=masked(bound.text)) for bound in plot.bounds],
    )  # fmt: skip


def _bounds(judgements: Sequence[Judgement]) -> dict[str, list[Bound]]:
    """Return the thresholds that a plot can show, by the name of what it shows; those that failed come first."""
    found: defaultdict[str, list[Bound]] = defaultdict(list)
    for judgement in sorted(judgements, key=lambda judgement: judgement.passed):
        threshold = parse_threshold(judgement.threshold)
        name = "" if threshold.over else _shown_by(threshold.figure)
        if len(found[name]) < _MOST_BOUNDS:
            found[name].append(Bound(judgement.text, threshold.bound, judgement.passed))
    return found


def _shown_by(figure: str) -> str:
    """Return the key of the plot that shows a figure, or nothing: the sum of a counter is not its rate."""
    latency = latency_figure(figure)
    if latency:
        return "" if latency[1] == "count" else latency[0]
    if figure.endswith("_per_s"):
        return figure.removesuffix("_per_s")
    gauge = figure.removesuffix("_max")
    return gauge if gauge in _GAUGES else ""


def _distributions(report: RunReport, bounds: dict[str, list[Bound]]) -> Iterator[Plot]:
    enough = (name for name, histogram in report.latencies.items() if histogram.count >= _FEW)
    for name in connecting_last(enough):
        histogram = report.latencies[name]
        buckets, curve = histogram.buckets(), [point for point in histogram.curve() if point[0] < 100]
        edges = [round(low, 4) for low, *_ in buckets] + [round(buckets[-1][1], 4)]
        counts = Series("count", [count for *_, count in buckets])
        yield Plot(
            f"bars {name}", _DISTRIBUTION, f"{words(name)}: how many took how many ms", "bars", [counts], edges
        )
        yield Plot(
            f"curve {name}", _DISTRIBUTION, f"{words(name)}: ms at each percentile", "curve",
            [Series("ms", [ms for _, ms in curve])], [nines(percent) for percent, _ in curve], bounds.get(name, []),
        )  # fmt: skip


def _over_time(report: RunReport, columns: Columns, bounds: dict[str, list[Bound]]) -> Iterator[Plot]:
    """Yield the plots over time in the order of the page."""
    seen = columns.seen

    def plot(key: str, group: str, title: str, names: dict[str, str]) -> Plot:
        series = [
            Series(shown, [_rounded(value) for value in columns.column(name)]) for name, shown in names.items()
        ]
        return Plot(key, group, title, "time", series, bounds=bounds.get(key, []))

    for name in connecting_last(report.latencies):
        if seen[f"{name}_p99_ms"] >= _MOMENTS:
            lines = {f"{name}_p50_ms": "p50", f"{name}_p99_ms": "p99"}
            yield plot(name, _CLIENTS, f"{words(name)}, ms, of each second", lines)
    if seen["errors"]:
        yield plot("errors", _CLIENTS, "errors a second", {"errors": "errors"})
    counters = [name for name in report.counters if seen[name] >= _MOMENTS and name != "errors"]
    for name in sorted(counters, key=_is_of_plan):
        group = _PLAN if _is_of_plan(name) else _CLIENTS
        yield plot(name, group, f"{words(name)} a second", {name: words(name)})
    for name, (group, title) in _GAUGES.items():
        if seen[name] >= _MOMENTS:
            yield plot(name, group, title, {name: title.partition(",")[0]})


def _is_of_plan(name: str) -> bool:
    return name in LOAD or name.startswith(("part", "clients_"))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
