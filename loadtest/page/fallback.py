"""The plots as pictures, for browsers that run no JavaScript."""

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from loadtest.page.series import Plot, Plots
from loadtest.plots import PERCENTILES, Curve, bars, lines, rounds

__all__ = ["pictures"]


def pictures(plots: Plots) -> str:
    """Return a figure for each plot, under the headings of their groups."""
    groups = dict.fromkeys(plot.group for plot in plots.plots)
    return "".join(
        f"<h2>{escape(group)}</h2>"
        f'<div class="grid">{"".join(_figure(plot, plots.at) for plot in plots.plots if plot.group == group)}</div>'
        for group in groups
    )


def _figure(plot: Plot, at: Sequence[float]) -> str:
    names = ", ".join(series.name for series in plot.series) if plot.series[1:] else ""
    caption = escape(f"{plot.title}: {names}" if names else plot.title)
    bounds = "".join(f'<li class="{"ok" if one.passed else "bad"}">{escape(one.text)}</li>' for one in plot.bounds)
    return f"<figure><figcaption>{caption}<ul>{bounds}</ul></figcaption>{_picture(plot, at)}</figure>"


def _picture(plot: Plot, at: Sequence[float]) -> str:
    if plot.kind == "bars":
        counts = [value or 0.0 for value in plot.series[0].values]
        return bars(
            [(low, high, count) for (low, high), count in zip(pairwise(plot.x), counts, strict=True)], plot.title
        )
    x = plot.x or at
    some: list[Curve] = [
        (series.name, [(at, value) for at, value in zip(x, series.values, strict=True) if value is not None])
        for series in plot.series
    ]
    ends = (x[0], x[-1]) if plot.kind == "curve" else (0.0, x[-1])
    return lines(some, PERCENTILES if plot.kind == "curve" else rounds(*ends, " s"), plot.title, ends)
