"""Plots as SVG: bars and lines with round numbers at their axes, in the colours of the page around them."""

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["PERCENTILES", "Curve", "bars", "lines", "nines", "rounds", "short"]

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 460, 200, 46, 10, 10, 26
_ROOM = _HEIGHT - _BOTTOM - _TOP
_GOOD_STEPS = (0.2, 0.25, 0.5, 1, 2, 2.5, 5)
_LABEL = 6.2
"""Units that a character of a label takes."""

Curve = tuple[str, Sequence[tuple[float, float]]]
"""A name and its points."""


def short(value: float) -> str:
    """Return a number in few characters: ``1.5k``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}"


def nines(percent: float) -> float:
    """Spread percentiles so that 90, 99 and 99.9 are equally far apart."""
    return -math.log10(max(1 - percent / 100, 1e-5))


PERCENTILES: dict[float, str] = {
    nines(float(text)): text for text in ("0", "50", "90", "99", "99.9", "99.99", "99.999")
}
"""Marks for an axis of percentiles."""


def rounds(low: float, high: float, unit: str = "") -> dict[float, str]:
    """Return marks at three to six round numbers, both ends included where they are round."""
    step = _step(high - low, 5)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return {number * step: f"{short(number * step)}{unit}" for number in range(first, last + 1)}


def bars(found: Sequence[tuple[float, float, float]], title: str) -> str:
    """Return a histogram of (from, to, count)."""
    axis, upper = _values(max(count for *_, count in found))
    high = found[-1][1]
    drawn = []
    for low, end, count in found:
        x, width = _across(low, 0, high), _across(end, 0, high) - _across(low, 0, high)
        height = count / upper * _ROOM
        drawn.append(
            f'<rect x="{x:.1f}" y="{_HEIGHT - _BOTTOM - height:.1f}" width="{max(width - 0.7, 0.5):.1f}" '
            f'height="{height:.1f}" class="s0"><title>{low:.3g} to {end:.3g}: {count:,.0f}</title></rect>'
        )
    return _svg(axis + "".join(drawn) + _below(rounds(0, high), 0, high), title)


def lines(some: Sequence[Curve], marks: Mapping[float, str], title: str, ends: tuple[float, float]) -> str:
    """Return lines over an axis from ``ends[0]`` to ``ends[1]``; ``marks`` are its places with a label."""
    axis, upper = _values(max((value for _, points in some for _, value in points), default=0.0))
    low, high = ends[0], max(ends[1], ends[0] + 1e-9)
    drawn = []
    for number, (name, points) in enumerate(some):
        places = [(_across(x, low, high), _HEIGHT - _BOTTOM - y / upper * _ROOM) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline points="{path}" class="l{number}"><title>{escape(name)}</title></polyline>')
        if len(places) == 1:
            drawn.append(f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3" class="s{number}"/>')
    return _svg(axis + "".join(drawn) + _below(marks, low, high), title)


def _across(x: float, low: float, high: float) -> float:
    return _LEFT + (x - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)


def _values(top: float) -> tuple[str, float]:
    """Return the lines and labels of the value axis, and its upper end: a round number."""
    step = _step(top, 5)
    upper = step * max(1, math.ceil(top / step - 1e-9))
    drawn = []
    for number in range(round(upper / step) + 1):
        y = _HEIGHT - _BOTTOM - number * step / upper * _ROOM
        drawn.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        drawn.append(f'<text x="{_LEFT - 5}" y="{y + 4:.1f}" class="end">{short(number * step)}</text>')
    return "".join(drawn), upper


def _step(reach: float, most: int) -> float:
    """Return the smallest round step of which ``most`` cover a reach."""
    step = 10 ** math.floor(math.log10(reach)) if reach > 0 else 1.0
    return next(step * factor for factor in _GOOD_STEPS if step * factor * most >= reach)


def _below(marks: Mapping[float, str], low: float, high: float) -> str:
    drawn = []
    for mark, text in marks.items():
        if not low <= mark <= high:
            continue
        half = len(text) * _LABEL / 2
        x = min(max(_across(mark, low, high), _LEFT + half - 4), _WIDTH - half)
        drawn.append(f'<text x="{x:.0f}" y="{_HEIGHT - 8}" class="middle">{escape(text)}</text>')
    return "".join(drawn)


def _svg(content: str, title: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{content}</svg>'
