"""The report as one HTML file that needs nothing else: plots are SVG, colours follow the reader's scheme."""

from collections.abc import Sequence
from html import escape
from statistics import median

from loadtest.plots import PERCENTILES, Line, bars, lines, nines, rounds
from loadtest.report import Report

__all__ = ["render"]

_STYLE = """
:root{color-scheme:light dark;--line:light-dark(#d8dde3,#343b44);--soft:light-dark(#f6f8fa,#191e25);
--ink:light-dark(#1b1f24,#e4e8ee);--dim:light-dark(#59636e,#9aa5b1);--a:light-dark(#2f6fdb,#6aa5ff);
--b:light-dark(#b4540a,#ffa657);--ok:light-dark(#146c2e,#58c473);--bad:light-dark(#b3261e,#ff8a80)}
*{box-sizing:border-box}body{font:16px/1.5 system-ui,sans-serif;max-width:76rem;margin:0 auto;padding:1rem;
background:light-dark(#fff,#0f1318);color:var(--ink)}h1{font-size:1.6rem;margin:.2rem 0;line-height:1.2}
h2{font-size:1.1rem;margin:2rem 0 .5rem;padding-bottom:.2rem;border-bottom:1px solid var(--line)}
p{margin:.3rem 0}.dim{color:var(--dim)}.ok{color:var(--ok)}.bad{color:var(--bad)}ul{margin:.3rem 0;padding-left:1.2rem}
.tiles{display:flex;flex-wrap:wrap;gap:.6rem;margin:1rem 0}.tile{flex:1 1 9rem;background:var(--soft);
border:1px solid var(--line);border-radius:8px;padding:.5rem .8rem}.tile b{display:block;font-size:1.5rem;line-height:1.3;
font-variant-numeric:tabular-nums}.tile span{font-size:.85rem;color:var(--dim)}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.92rem}th{font-weight:600;color:var(--dim)}
th,td{padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap;
font-variant-numeric:tabular-nums}th:first-child,td:first-child{text-align:left;padding-right:1.5rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:.8rem}
.columns{display:flex;flex-wrap:wrap;gap:0 3rem}.columns>section{min-width:0;max-width:100%}
figure{margin:0;background:var(--soft);border:1px solid var(--line);border-radius:8px;padding:.6rem .6rem .2rem}
figcaption{font-size:.88rem;margin-bottom:.3rem}figcaption i{font-style:normal;color:var(--b)}figcaption em{font-style:normal;
color:var(--a)}.plots:not(:first-child){margin-top:.8rem}svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:var(--dim)}
.end{text-anchor:end}.middle{text-anchor:middle}.grid{stroke:var(--line)}.s0{fill:var(--a)}.s1{fill:var(--b)}
.l0,.l1{fill:none;stroke-width:1.8;stroke-linejoin:round}.l0{stroke:var(--a)}.l1{stroke:var(--b)}
code{background:var(--soft);border:1px solid var(--line);padding:.1rem .35rem;border-radius:4px;overflow-wrap:anywhere;font-size:.88rem}
@media print{body{max-width:none}figure{break-inside:avoid}}
"""
_PARTS = ("p50", "p90", "p99", "p999", "max")
_HEADS = ("p50", "p90", "p99", "p99.9", "max")
_CONNECTING = frozenset({"tcp", "tls", "upgrade", "connect"})
_SERVER = {
    "server_cpu_percent": "CPU of the server, % of a core",
    "server_rss_mib": "resident memory of the server, MiB",
    "kernel_tcp_mib": "kernel memory of all TCP sockets here, MiB",
    "server_lag_ms": "loop lag of the server, ms",
    "server_fds": "descriptors of the server",
    "server_connections": "connections, by the server's count",
    "server_stalled": "stalled connections",
    "server_fetches": "fetches under way",
}
_OWN = {
    "own_cpu_percent": "CPU of the generator, % of a core",
    "own_lag_ms": "loop lag of the generator, ms",
    "own_rss_mib": "resident memory of the generator, MiB",
}


def render(report: Report) -> str:
    """Return the page."""
    judged = [
        _thresholds(report),
        _table("Checks", ["check", "count"], _counted(report.checks) if report.kept_account() else []),
    ]
    counted = [
        _table("Counters", ["counter", "value"], _counted(report.counters)),
        _table("Gauges", ["gauge", "value"], _counted(report.gauges)),
        _table("Errors", ["error", "count"], _counted(report.errors)),
    ]
    parts = [
        *_head(report),
        _tiles(report),
        _found(report),
        _columns(judged),
        _latencies(report),
        _rounds(report),
        _loads(report),
        _time_lines(report),
        _columns(counted),
    ]
    return report.secrets.masked(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>loadtest {escape(report.scenario)}: {report.verdict.status}</title><style>{_STYLE}</style></head><body>"
        f"{''.join(parts)}</body></html>\n"
    )


def _head(report: Report) -> list[str]:
    state = f'<span class="{"ok" if report.verdict.passed else "bad"}">{report.verdict.status}</span>'
    machine = report.environment()
    where = f"{report.started}, {report.elapsed:.1f} s, Python {machine['python']} on {machine['system']}"
    where += f", {machine['cores']} cores"
    return [
        f"<h1>loadtest {escape(report.scenario)}: {state}</h1>",
        f'<p class="dim">{escape(where)}</p>',
        *(f'<p class="bad">{escape(reason)}</p>' for reason in report.verdict.reasons),
        f"<p>Run it again: <code>{escape(report.command)}</code></p>",
    ]


def _tiles(report: Report) -> str:
    """Return the few figures that are looked for first."""
    tiles = [(f"{value:,.0f}", _words(name)) for name, value in list(report.counters.items())[:3]]
    first = [(name, report.latencies[name]) for name in _order(report)[:3]]
    tiles += [(f"{histogram.percentile(99.0):,.3g} ms", f"{_words(name)} p99") for name, histogram in first]
    if report.kept_account():
        tiles.append((f"{sum(report.checks.values()):,}", "lost, gapped, repeated or reordered"))
    return f"""<div class="tiles">{
        "".join(
            f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for value, name in tiles
        )
    }</div>"""


def _found(report: Report) -> str:
    items = [f'<li class="bad">{escape(finding.text)}</li>' for finding in report.findings]
    items += [f"<li>{escape(note)}</li>" for note in report.notes]
    if report.kept_account() and not report.findings:
        items.insert(0, "<li>nothing lost, late, stalled, repeated or out of order</li>")
    if not items:
        return ""
    return f"<h2>Found</h2><ul>{''.join(items)}</ul>"


def _counted(figures: dict[str, float] | dict[str, int]) -> list[list[str]]:
    return [[name, f"{value:,.10g}"] for name, value in figures.items()]


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<section><h2>{escape(title)}</h2><div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )


def _columns(tables: Sequence[str]) -> str:
    return f'<div class="columns">{"".join(tables)}</div>'


def _thresholds(report: Report) -> str:
    rows = [
        [one.threshold, "not measured" if one.value is None else f"{one.value:,.10g}",
         "holds" if one.passed else "FAILED", "every run" if one.implied else "", one.note]
        for one in report.judgements
    ]  # fmt: skip
    return _table("Thresholds", ["threshold", "measured", "verdict", "asked of", "note"], rows)


def _latencies(report: Report) -> str:
    rows, plots, few = [], [], report.few_samples()
    for name in _order(report):
        histogram = report.latencies[name]
        summary = histogram.summary()
        cells = (f"{summary[part]:,.2f}{'?' if part in few.get(name, ()) else ''}" for part in _PARTS)
        rows.append([name, *cells, f"{summary['count']:,.0f}"])
        if histogram.count >= 20:
            title = f"{_words(name)}: how many took how many ms"
            plots.append(_figure(escape(title), bars(histogram.buckets(), title)))
            points = [(nines(percent), ms) for percent, ms in histogram.curve() if percent < 100]
            title = f"{_words(name)}: ms at each percentile"
            plots.append(
                _figure(escape(title), lines([(name, points)], PERCENTILES, title, (points[0][0], points[-1][0])))
            )
    marked = '<p class="dim">?: too few samples for this percentile</p>' if few else ""
    return _table("Latency in ms", ["of", *_HEADS, "count"], rows) + marked + _plots("", plots)


def _order(report: Report) -> list[str]:
    """Return the names of the latencies, the parts of connecting last."""
    return sorted(report.latencies, key=lambda name: name in _CONNECTING)


def _rounds(report: Report) -> str:
    """Return p50 and p99 of each round, and how far they are apart."""
    rows = []
    for name in _order(report):
        for part in ("p50", "p99"):
            values = [one.latency_ms[name][part] for one in report.rounds if name in one.latency_ms]
            if values:
                spread = (max(values) - min(values)) / median(values) if median(values) else 0.0
                rows.append([f"{name} {part}", *(f"{value:,.2f}" for value in values), f"{spread:.0%}"])
    heads = ["ms", *(f"round {number + 1}" for number in range(len(report.rounds))), "spread / median"]
    return _table("Rounds", heads, rows)


def _loads(report: Report) -> str:
    """Return the loads that a search has tried, from the smallest on."""
    names = list(dict.fromkeys(name for load in report.loads for name in load))
    rows = [[f"{load[name]:,.6g}" if name in load else "" for name in names]
            for load in sorted(report.loads, key=lambda load: load["load"])]  # fmt: skip
    return _table("Loads", names, rows)


def _time_lines(report: Report) -> str:
    """Return what happened when, at both ends, on the same time line."""
    names = list(dict.fromkeys(name for moment in report.timeline for name in moment if name != "at_s"))
    # What there is at one or two moments is in the tables.
    shown = {name for name in names if sum(bool(moment.get(name)) for moment in report.timeline) > 2}
    clients = [_over_time(report, [(name, name)], f"{_words(name)} a second") for name in names
               if name in shown and name in report.counters]  # fmt: skip
    for name in _order(report):
        pair = [(f"{name}_p50_ms", "p50"), (f"{name}_p99_ms", "p99")]
        if pair[1][0] in shown:
            caption = f"{escape(_words(name))}, ms: <em>p50</em> and <i>p99</i> of each second"
            clients.append(_over_time(report, pair, f"{_words(name)}, ms", caption))
    clients += [_over_time(report, [("clients", "clients")], "clients connected")] if "clients" in shown else []
    server = [_over_time(report, [(name, name)], title) for name, title in _SERVER.items() if name in shown]
    own = [_over_time(report, [(name, name)], title) for name, title in _OWN.items() if name in shown]
    titles = ("Time line: the clients", "Time line: the server", "Time line: the generator itself")
    return "".join(_plots(title, plots) for title, plots in zip(titles, (clients, server, own), strict=True))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _over_time(report: Report, series: Sequence[tuple[str, str]], title: str, caption: str = "") -> str:
    some: list[Line] = []
    for key, name in series:
        # A counter that is not named has not grown; a gauge was not seen.
        there = [moment for moment in report.timeline if key in moment or key in report.counters]
        some.append((name, [(moment["at_s"], moment.get(key, 0.0)) for moment in there]))
    end = report.timeline[-1]["at_s"]
    return _figure(caption or escape(title), lines(some, rounds(0.0, end, " s"), title, (0.0, end)))


def _plots(title: str, plots: Sequence[str]) -> str:
    head = f"<h2>{escape(title)}</h2>" if title else ""
    return f'{head}<div class="plots">{"".join(plots)}</div>' if plots else ""


def _figure(caption: str, svg: str) -> str:
    return f"<figure><figcaption>{caption}</figcaption>{svg}</figure>"
