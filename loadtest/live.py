"""How a run goes, while it goes: a panel on a terminal, plain lines elsewhere."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from time import monotonic

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from loadtest.plots import short
from loadtest.report import RunReport

__all__ = ["Display", "sparkline"]

_BLOCKS = " ▁▂▃▄▅▆▇█"
_WIDTH = 78
_AROUND = 6
"""Lines of the panel beside its figures."""
_CONNECTING = 1 / 3
_LOAD = ("published", "fetched", "made")
_DETAIL = re.compile("^part[0-9]|^clients_")
"""Counters that the report has and the panel has no room for."""
_GAUGES = {
    "server_cpu_percent": "server CPU %",
    "server_rss_mib": "server MiB",
    "server_fds": "server descriptors",
    "server_lag_ms": "server lag ms",
    "own_cpu_percent": "generator CPU %",
    "own_rss_mib": "generator MiB",
    "own_lag_ms": "generator lag ms",
}


class Display:
    """Shows one report after another; :meth:`tell` may be called as often as one likes."""

    def __init__(self, report: RunReport, console: Console | None = None, *, quiet: bool = False) -> None:
        self._report = report
        self._quiet = quiet
        self._title = ""
        self._console = console or Console(file=sys.stderr)
        self._live: Live | None = None
        self._follower: Callable[[RunReport, str], None] | None = None
        self._load_since: float | None = None
        self._began = monotonic()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it while the block runs."""
        if self._quiet or not self._console.is_terminal:
            yield
            return
        with Live(self.panel(), console=self._console, refresh_per_second=4, transient=True) as self._live:
            yield
        self._live = None

    def show(self, report: RunReport, title: str) -> None:
        """Turn to another report."""
        self._report = report
        self._title = title
        self._load_since = None

    @property
    def report(self) -> RunReport:
        """The report that is shown now."""
        return self._report

    def follow(self, follower: Callable[[RunReport, str], None]) -> None:
        """Have ``follower`` called with the report and its title at each report of the run."""
        self._follower = follower

    def update(self) -> None:
        """Say where the run is."""
        if self._follower is not None:
            self._follower(self._report, self._title)
        if self._live is not None:
            self._live.update(self.panel())
        if self._live is not None or self._quiet:
            return
        report = self._report
        counters = ", ".join(f"{value:,.0f} {name}" for name, value in report.counters.items() if value)
        where = f"{self._title}: {report.phase}" if self._title else report.phase
        line = f"{monotonic() - self._began:6.1f} s  {where}: {counters}"
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the display

    def panel(self) -> Group:
        """Return the panel of now: what runs, how far it is, and its figures, at most 78 columns wide."""
        report, width = self._report, min(_WIDTH, self._console.width)
        name = " ".join(filter(None, ("loadtest", report.scenario, self._title)))
        title = f"{name}: {report.phase}, {monotonic() - self._began:.0f} s"
        bar = ProgressBar(total=1.0, completed=self._progress(), width=width)
        return Group(Text(title, style="bold", no_wrap=True, overflow="ellipsis"), bar, self._figures(width))

    def _progress(self) -> float:
        """Return how much of the run is over, from 0 to 1: connecting is a third of it, the load the rest."""
        counters, now = self._report.counters, monotonic()
        if self._load_since is None and any(counters.get(name) for name in _LOAD):
            self._load_since = now
        if self._load_since is None:
            return counters.get("connected", 0) / (counters.get("clients_intended") or 1) * _CONNECTING
        duration = float(self._report.options.get("duration") or 1.0)
        return _CONNECTING + min(1.0, (now - self._load_since) / duration) * (1 - _CONNECTING)

    def _figures(self, width: int) -> Table:
        report = self._report
        table = Table(box=None, width=width)
        table.add_column("", no_wrap=True, width=22, overflow="ellipsis")
        table.add_column("in all", justify="right", no_wrap=True, width=23)
        table.add_column("a second", justify="right", no_wrap=True, width=9)
        table.add_column("last 20 s", no_wrap=True, width=20)
        rows = self._rows(report, report.timeline[-1] if report.timeline else {})
        # A panel that is taller than the terminal cannot be drawn over.
        for row in islice(rows, max(1, self._console.height - _AROUND)):
            table.add_row(*row)
        if report.latencies:
            table.caption = "latencies: p50 / p99 / p99.9 in all; p99 of the second"
        return table

    def _rows(self, report: RunReport, now: dict[str, float]) -> Iterator[tuple[str, str, str, str]]:
        troubles = {name: count for name, count in report.checks.items() if count}
        for text, count in {**troubles, **dict(report.errors.most_common(5))}.items():
            yield f"[red]{escape(report.secrets.masked(text))}[/red]", f"{count:,}", "", ""
        for name, value in report.counters.items():
            if value and not _DETAIL.search(name):
                yield name, f"{value:,.0f}", f"{now.get(name, 0):,.0f}", self._history(name)
        for name, histogram in report.latencies.items():
            figures = " / ".join(short(histogram.percentile(p)) for p in (50.0, 99.0, 99.9))
            recent = f"{name}_p99_ms"
            yield f"{name} ms", figures, f"{now.get(recent, 0):,.1f}", self._history(recent)
        for name, title in _GAUGES.items():
            if name in now:
                yield title, "", f"{now[name]:,.1f}", self._history(name)

    def _history(self, name: str) -> str:
        return sparkline([moment.get(name, 0.0) for moment in self._report.timeline[-20:]])


def sparkline(values: Sequence[float]) -> str:
    """Return one block for each value, as high as its share of the highest."""
    top = max(values, default=0.0)
    return "".join(_BLOCKS[round(max(value, 0.0) / top * 8)] for value in values) if top > 0 else ""
