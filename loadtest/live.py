"""How a run goes, while it goes: a panel on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.live import Live
from rich.table import Table

from loadtest.report import Report

__all__ = ["Display"]

_BLOCKS = " ▁▂▃▄▅▆▇█"


class Display:
    """Tells about one report; :meth:`tell` may be called as often as one likes."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._console = Console(file=sys.stderr)
        self._live: Live | None = None
        self._began = monotonic()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it while the block runs."""
        if not self._console.is_terminal:
            yield
            return
        with Live(
            self._panel("starting"), console=self._console, refresh_per_second=4, transient=True
        ) as self._live:
            yield
        self._live = None

    def tell(self, phase: str) -> None:
        """Say where the run is."""
        if self._live is not None:
            self._live.update(self._panel(phase))
            return
        counters = ", ".join(f"{value:,.0f} {name}" for name, value in self._report.counters.items())
        line = f"{monotonic() - self._began:6.1f} s  {phase}: {counters}"
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - this is the display

    def _panel(self, phase: str) -> Table:
        table = Table(title=f"loadtest {self._report.scenario}: {phase}", title_justify="left", box=None, width=78)
        for name in ("", "value", "last minute"):
            table.add_column(name, justify="right" if name == "value" else "left")
        for name, value in self._report.counters.items():
            table.add_row(name, f"{value:,.0f}", self._spark(name))
        for name, histogram in self._report.latencies.items():
            figures = " ".join(f"p{p:g} {histogram.percentile(p):,.1f}" for p in (50.0, 99.0, 99.9))
            table.add_row(f"{name} ms", "", figures)
        for text, count in list(self._report.errors.items())[:5]:
            table.add_row(f"[red]{text[:50]}[/red]", f"{count:,}", "")
        return table

    def _spark(self, name: str) -> str:
        values = [moment.counts.get(name, 0.0) for moment in self._report.timeline[-40:]]
        top = max(values, default=0.0)
        return "".join(_BLOCKS[round(max(value, 0.0) / top * 8)] for value in values) if top > 0 else ""
