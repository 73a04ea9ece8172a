"""How a run goes, while it goes: a panel on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from loadtest.plots import short
from loadtest.report import Report

__all__ = ["Display", "sparkline"]

_BLOCKS = " ▁▂▃▄▅▆▇█"
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

    def __init__(self, report: Report, console: Console | None = None) -> None:
        self._report = report
        self._title = ""
        self._console = console or Console(file=sys.stderr)
        self._live: Live | None = None
        self._began = monotonic()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it while the block runs."""
        if not self._console.is_terminal:
            yield
            return
        with Live(self.panel(), console=self._console, refresh_per_second=4, transient=True) as self._live:
            yield
        self._live = None

    def show(self, report: Report, title: str) -> None:
        """Turn to another report."""
        self._report = report
        self._title = title

    def tell(self) -> None:
        """Say where the run is."""
        if self._live is not None:
            self._live.update(self.panel())
            return
        report = self._report
        counters = ", ".join(f"{value:,.0f} {name}" for name, value in report.counters.items() if value)
        where = f"{self._title}: {report.phase}" if self._title else report.phase
        line = f"{monotonic() - self._began:6.1f} s  {where}: {counters}"
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the display

    def panel(self) -> Table:
        """Return the panel of now, at most 78 columns wide."""
        report = self._report
        title = f"loadtest {report.scenario} {self._title}: {report.phase}, {monotonic() - self._began:.0f} s"
        table = Table(title=title, title_justify="left", box=None, width=min(78, self._console.width))
        table.add_column("", no_wrap=True, width=22, overflow="ellipsis")
        table.add_column("in all", justify="right", no_wrap=True, width=23)
        table.add_column("a second", justify="right", no_wrap=True, width=9)
        table.add_column("last 20 s", no_wrap=True, width=20)
        for row in self._rows(report, report.timeline[-1] if report.timeline else {}):
            table.add_row(*row)
        if report.latencies:
            table.caption = "latencies: p50 / p99 / p99.9 in all; p99 of the second"
        return table

    def _rows(self, report: Report, now: dict[str, float]) -> Iterator[tuple[str, str, str, str]]:
        for name, value in report.counters.items():
            yield name, f"{value:,.0f}", f"{now.get(name, 0):,.0f}", self._history(name)
        for name, histogram in report.latencies.items():
            figures = " / ".join(short(histogram.percentile(p)) for p in (50.0, 99.0, 99.9))
            recent = f"{name}_p99_ms"
            yield f"{name} ms", figures, f"{now.get(recent, 0):,.1f}", self._history(recent)
        for name, title in _GAUGES.items():
            if name in now:
                yield title, "", f"{now[name]:,.1f}", self._history(name)
        troubles = {name: count for name, count in report.checks.items() if count}
        for text, count in {**troubles, **dict(report.errors.most_common(5))}.items():
            yield f"[red]{escape(report.secrets.masked(text))}[/red]", f"{count:,}", "", ""

    def _history(self, name: str) -> str:
        return sparkline([moment.get(name, 0.0) for moment in self._report.timeline[-20:]])


def sparkline(values: Sequence[float]) -> str:
    """Return one block for each value, as high as its share of the highest."""
    top = max(values, default=0.0)
    return "".join(_BLOCKS[round(max(value, 0.0) / top * 8)] for value in values) if top > 0 else ""
