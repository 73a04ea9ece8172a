"""The texts and tables of a page as HTML; every dynamic text is masked and escaped here."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from statistics import median

from loadtest.measures import COMMON, connecting_last, words
from loadtest.report import Judgement, RunReport

__all__ = ["Sections"]

_PARTS = ("p50", "p90", "p99", "p999", "max")
_HEADS = ("p50", "p90", "p99", "p99.9", "max")
_TILES = 3
_MOST_ROWS = 200
"""Rows of a table: a page has to stay readable, and the JSON report has the rest."""


class Sections:
    """The sections of one report; ``running`` says how far a run is, and is empty for one that has ended."""

    def __init__(self, report: RunReport, running: str, judgements: Sequence[Judgement]) -> None:
        self._report = report
        self._running = running
        self._judgements = judgements

    @property
    def state(self) -> str:
        """The verdict in one word, or ``running``."""
        return "running" if self._running else str(self._report.verdict.status)

    @property
    def title(self) -> str:
        """The title, as plain text."""
        return self._report.secrets.masked(f"loadtest {self._report.scenario}: {self.state}")

    def all(self) -> dict[str, str]:
        """Return the sections by name, in their order; the plots come after ``judged``."""
        report = self._report
        return {
            "head": self._head(),
            "tiles": self._tiles(),
            "found": self._found(),
            "judged": _columns(
                self._thresholds(),
                self._table("Checks", ["check", "count"], _counted(report.checks) if report.kept_account() else []),
                self._clients(),
            ),
            "figures": "".join([self._latencies(), self._rounds(), self._loads()]),
            "counted": _columns(
                self._table("Counters", ["counter", "value"], _counted(report.counters)),
                self._table("Gauges", ["gauge", "value"], _counted(report.gauges)),
                self._table("Errors", ["error", "count"], _counted(report.errors)),
            ),
            "environment": self._environment(),
        }

    def _text(self, text: str) -> str:
        return escape(self._report.secrets.masked(text))

    def _head(self) -> str:
        report = self._report
        state = f'<span class="{_class_of(self.state)}">{self.state}</span>'
        when = f"{report.started}, {report.elapsed:.1f} s" + (f", {self._running}" if self._running else "")
        reasons = () if self._running else report.verdict.reasons
        return "".join(
            [
                f"<h1>loadtest {self._text(report.scenario)}: {state}</h1>",
                f"<p>{self._text(when)}</p>",
                *(f'<p class="bad">{self._text(reason)}</p>' for reason in reasons[:_MOST_ROWS]),
            ]
        )

    def _tiles(self) -> str:
        """Return the few figures that are looked for first."""
        report = self._report
        # What is the scenario's own says more than what every run has.
        names = sorted((name for name, value in report.counters.items() if value), key=lambda name: name in COMMON)
        counters = [(f"{report.counters[name]:,.0f}", words(name)) for name in names]
        latencies = [
            (f"{report.latencies[name].percentile(99.0):,.3g} ms", f"{words(name)}, p99")
            for name in connecting_last(self._report.latencies)[:_TILES]
        ]
        tiles = [*counters[:_TILES], *latencies]
        if report.kept_account():
            tiles.append((f"{sum(report.checks.values()):,}", "lost, gapped, repeated or reordered"))
        return "".join(
            f'<div class="tile"><span>{self._text(name)}</span><b>{self._text(value)}</b></div>'
            for value, name in tiles
        )

    def _found(self) -> str:
        report = self._report
        items = [f'<li class="bad">{self._text(finding.text)}</li>' for finding in report.findings[:_MOST_ROWS]]
        items += [f"<li>{self._text(note)}</li>" for note in report.notes[:_MOST_ROWS]]
        if report.kept_account() and not report.findings and not self._running:
            items.insert(0, "<li>nothing lost, late, stalled, repeated or out of order</li>")
        return f'<h2>Found</h2><ul class="scroll" tabindex="0">{"".join(items)}</ul>' if items else ""

    def _table(
        self, title: str, heads: Sequence[str], rows: Sequence[Sequence[str]], bad: Sequence[bool] = ()
    ) -> str:
        if not rows:
            return ""
        head = "".join(f'<th scope="col">{self._text(text)}</th>' for text in heads)
        body = "".join(
            f"<tr{' class=bad' if bad and bad[number] else ''}>"
            + "".join(f"<td>{self._text(cell)}</td>" for cell in row)
            + "</tr>"
            for number, row in enumerate(rows[:_MOST_ROWS])
        )
        more = f"<p>{len(rows) - _MOST_ROWS:,} more rows are in the JSON report</p>" if rows[_MOST_ROWS:] else ""
        return (
            f'<section><h2>{title}</h2><div class="scroll" tabindex="0" role="region" aria-label="{title}">'
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}</section>"
        )

    def _thresholds(self) -> str:
        judgements, failed = self._judgements, "does not hold yet" if self._running else "FAILED"
        rows = [
            [one.threshold, "not measured" if one.value is None else f"{one.value:,.6g}",
             "holds" if one.passed else failed, "every run" if one.implied else "", one.note]
            for one in judgements
        ]  # fmt: skip
        heads = ["threshold", "measured", "verdict", "asked of", "note"]
        return self._table("Thresholds", heads, rows, [not one.passed for one in judgements])

    def _clients(self) -> str:
        rows = [
            [f"client {one['client']:,}", one["check"], f"{one['messages']:,}"] for one in self._report.troubled()
        ]
        return self._table("Clients", ["client", "check", "messages"], rows)

    def _latencies(self) -> str:
        rows, few = [], self._report.few_samples()
        for name in connecting_last(self._report.latencies):
            summary = self._report.latencies[name].summary()
            cells = (f"{summary[part]:,.2f}{'?' if part in few.get(name, ()) else ''}" for part in _PARTS)
            rows.append([name, *cells, f"{summary['count']:,.0f}"])
        marked = '<p class="dim">?: too few samples for this percentile</p>' if few else ""
        return self._table("Latency in ms", ["of", *_HEADS, "count"], rows) + marked

    def _rounds(self) -> str:
        """Return p50 and p99 of each round, and how far they are apart."""
        rows, rounds = [], self._report.rounds
        for name in connecting_last(self._report.latencies):
            for part in ("p50", "p99"):
                values = [one.latency_ms[name][part] for one in rounds if name in one.latency_ms]
                if values:
                    spread = (max(values) - min(values)) / median(values) if median(values) else 0.0
                    rows.append([f"{name} {part}", *(f"{value:,.2f}" for value in values), f"{spread:.0%}"])
        heads = ["ms", *(f"round {number + 1}" for number in range(len(rounds))), "spread / median"]
        return self._table("Rounds", heads, rows)

    def _loads(self) -> str:
        """Return the loads that a search has tried, from the smallest on."""
        loads = self._report.loads
        names = list(dict.fromkeys(name for load in loads for name in load))
        rows = [[f"{load[name]:,.6g}" if name in load else "" for name in names]
                for load in sorted(loads, key=lambda load: load["load"])]  # fmt: skip
        return self._table("Loads", names, rows)

    def _environment(self) -> str:
        report = self._report
        machine = report.environment()
        where = f"Python {machine['python']} on {machine['system']}, {machine['cores']} cores"
        command = f"<p>The command: <code>{self._text(report.command)}</code></p>" if report.command else ""
        options = list(self._options())
        table = self._table("Options", ["option", "value"], options)
        folded = f"<details><summary>{len(options)} options</summary>{table}</details>" if options else ""
        return f"{command}<p>{self._text(where)}</p>{folded}"

    def _options(self) -> Iterator[list[str]]:
        for name, value in self._report.options.items():
            if value not in ("", None):
                yield [f"--{name.replace('_', '-')}", str(value)]


def _class_of(state: str) -> str:
    return {"passed": "ok", "running": "dim"}.get(state, "bad")


def _counted(figures: Mapping[str, float] | Mapping[str, int]) -> list[list[str]]:
    return [[name, f"{value:,.10g}"] for name, value in figures.items()]


def _columns(*tables: str) -> str:
    return f'<div class="columns">{"".join(tables)}</div>' if any(tables) else ""
