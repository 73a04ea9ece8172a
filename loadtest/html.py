"""The report as one HTML file that needs nothing else: plots are SVG, colours follow the reader's scheme."""

import math
from collections.abc import Callable, Sequence
from html import escape

from loadtest.report import Report

__all__ = ["render"]

_STYLE = """
:root{color-scheme:light dark;--line:light-dark(#d0d7de,#3a414a);--soft:light-dark(#f4f6f8,#1b2027);
--ink:light-dark(#1b1f24,#e4e8ee);--bar:light-dark(#2f6fdb,#6aa5ff);--ok:light-dark(#146c2e,#58c473);--bad:light-dark(#b3261e,#ff8a80)}
*{box-sizing:border-box}body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:0 auto;padding:1rem;
background:light-dark(#fff,#11151a);color:var(--ink)}h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}
.ok{color:var(--ok)}.bad{color:var(--bad)}.scroll{overflow-x:auto}table{border-collapse:collapse;min-width:20rem}
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:right;font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}.plots{margin-top:1.6rem;display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:1rem}
figure{margin:0;background:var(--soft);border:1px solid var(--line);border-radius:8px;padding:.6rem}figcaption{font-size:.9rem}
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:var(--ink)}
code{background:var(--soft);padding:.1rem .3rem;border-radius:4px;overflow-wrap:anywhere}
"""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 460, 220, 52, 28


def render(report: Report) -> str:
    """Return the page."""
    failed = [verdict for verdict in report.verdicts if not verdict.passed]
    state = '<span class="bad">failed</span>' if failed else '<span class="ok">passed</span>'
    parts = [
        f"<h1>loadtest {escape(report.scenario)}: {state}</h1>",
        f"<p>{escape(report.started)}, {report.elapsed:.1f} s. Run it again: <code>{escape(report.command)}</code></p>",
        _table("Checks", ["check", "count"], [[name, f"{value:,}"] for name, value in _checks(report)]),
        _thresholds(report),
        _latencies(report),
        f'<div class="plots">{"".join(_plots(report))}</div>',
        _table("Counters", ["counter", "value"], [[n, f"{v:,.0f}"] for n, v in report.counters.items()]),
        _table("Errors", ["error", "count"], [[n, f"{v:,}"] for n, v in report.errors.items()]),
        "".join(f"<p>{escape(note)}</p>" for note in report.notes),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>loadtest {escape(report.scenario)}</title><style>{_STYLE}</style></head><body>"
        f"{''.join(parts)}</body></html>\n"
    )


def _checks(report: Report) -> list[tuple[str, int]]:
    checks = report.checks
    return [
        ("lost", checks.lost),
        ("gapped", checks.gapped),
        ("repeated", checks.repeated),
        ("reordered", checks.reordered),
    ]


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f"<h2>{escape(title)}</h2><div class='scroll'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _thresholds(report: Report) -> str:
    rows = [
        [verdict.threshold, "not measured" if verdict.value is None else f"{verdict.value:,.10g}",
         "holds" if verdict.passed else "FAILED"]
        for verdict in report.verdicts
    ]  # fmt: skip
    return _table("Thresholds", ["threshold", "measured", "verdict"], rows)


def _latencies(report: Report) -> str:
    rows = []
    for name, histogram in report.latencies.items():
        summary = histogram.summary()
        rows.append([name, *(f"{summary[part]:,.2f}" for part in ("p50", "p90", "p99", "p999", "max")),
                     f"{summary['count']:,.0f}"])  # fmt: skip
    return _table("Latency in ms", ["of", "p50", "p90", "p99", "p99.9", "max", "count"], rows)


def _plots(report: Report) -> list[str]:
    plots = []
    for name, histogram in report.latencies.items():
        if histogram.count >= 20:
            bars = [(low, high, float(found)) for low, high, found in histogram.buckets()]
            plots.append(_figure(f"{name}: how many took how many ms", _bars(bars)))
            points = [(_nines(percent), ms) for percent, ms in histogram.curve() if percent < 100]
            plots.append(_figure(f"{name}: ms by percentile", _line(points, _percentile_label)))
    names = dict.fromkeys(name for moment in report.timeline for name in moment.counts)
    for name in names:
        points = [(moment.at, moment.counts.get(name, 0.0)) for moment in report.timeline]
        if len(points) > 1 and any(value for _, value in points):
            unit = "" if name.endswith("_ms") or name == "clients" else " a second"
            plots.append(_figure(f"{name}{unit}, over time", _line(points, lambda x: f"{x:.0f} s")))
    return plots


def _figure(title: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>"


def _nines(percent: float) -> float:
    """Spread the percentiles so that 90, 99 and 99.9 are equally far apart."""
    return -math.log10(max(1 - percent / 100, 1e-5))


def _percentile_label(x: float) -> str:
    return f"{100 * (1 - 10**-x):.4g}"


def _axes(top: float) -> tuple[str, float]:
    """Return the lines and labels of the value axis, and its upper end: a round number."""
    step = 10 ** math.floor(math.log10(top)) if top > 0 else 1.0
    step = next(step * factor for factor in (0.2, 0.25, 0.5, 1, 2, 2.5, 5) if step * factor * 5 >= top)
    upper = step * max(1, math.ceil(top / step))
    lines = []
    for number in range(round(upper / step) + 1):
        value = number * step
        y = _HEIGHT - _BOTTOM - value / upper * (_HEIGHT - _BOTTOM - 10)
        lines.append(f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/>')
        lines.append(f'<text x="{_LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>')
    return "".join(lines), upper


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def _svg(content: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{content}</svg>'


def _bars(bars: Sequence[tuple[float, float, float]]) -> str:
    axes, upper = _axes(max(count for _, _, count in bars))
    room, high = _HEIGHT - _BOTTOM - 10, bars[-1][1]
    drawn = []
    for low, end, count in bars:
        x, width = _LEFT + low / high * (_WIDTH - _LEFT), (end - low) / high * (_WIDTH - _LEFT)
        height = count / upper * room
        drawn.append(
            f'<rect x="{x:.1f}" y="{_HEIGHT - _BOTTOM - height:.1f}" width="{max(width - 0.7, 0.5):.1f}" '
            f'height="{height:.1f}" fill="var(--bar)"><title>{low:.3g} to {end:.3g} ms: {count:,.0f}</title></rect>'
        )
    labels = "".join(
        f'<text x="{_LEFT + share * (_WIDTH - _LEFT - 30):.0f}" y="{_HEIGHT - 8}">{_short(share * high)}</text>'
        for share in (0, 0.25, 0.5, 0.75, 1)
    )
    return _svg(f"{axes}{''.join(drawn)}{labels}")


def _line(points: Sequence[tuple[float, float]], label: Callable[[float], str]) -> str:
    axes, upper = _axes(max(value for _, value in points))
    low, high = points[0][0], max(points[-1][0], points[0][0] + 1e-9)
    room = _HEIGHT - _BOTTOM - 10

    def place(x: float, y: float) -> str:
        across = _LEFT + (x - low) / (high - low) * (_WIDTH - _LEFT - 6)
        return f"{across:.1f},{_HEIGHT - _BOTTOM - y / upper * room:.1f}"

    path = " ".join(place(x, y) for x, y in points)
    labels = "".join(
        f'<text x="{_LEFT + share * (_WIDTH - _LEFT - 40):.0f}" y="{_HEIGHT - 8}">'
        f"{escape(label(low + share * (high - low)))}</text>"
        for share in (0, 0.25, 0.5, 0.75, 1)
    )
    return _svg(f'{axes}<polyline points="{path}" fill="none" stroke="var(--bar)" stroke-width="2"/>{labels}')
