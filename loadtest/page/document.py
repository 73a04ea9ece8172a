"""The page as one self-contained file: styles, scripts and data are inline, and no other script may run."""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import orjson

from loadtest.page.columns import Columns
from loadtest.page.fallback import pictures
from loadtest.page.sections import Sections
from loadtest.page.series import Plots, plots_of
from loadtest.report import Judgement, RunReport

__all__ = ["frame", "render"]

_STATIC = Path(__file__).parent / "static"
_ICON = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg'/%3E"
"""An empty picture, so that no browser asks for one; the script draws the state."""
_POINTS = 1_200
"""Points of a line over time, at most: two for each pixel of a plot."""
_PICTURE_POINTS = 300
_TOOLS = (
    '<div id="tools" hidden><label for="moment">Moment</label>'
    '<input id="moment" type="range" min="0" max="0" value="0" step="any">'
    '<output id="now" for="moment"></output>'
    '<button type="button" id="closer">Zoom in</button><button type="button" id="wider">Zoom out</button>'
    '<button type="button" id="whole">Whole run</button></div>'
)


def render(report: RunReport, *, running: str = "", judgements: Sequence[Judgement] | None = None) -> str:
    """Return the page of a report; the page of a ``running`` one follows the server that it came from."""
    sections, plots = _made(report, Columns(_POINTS), running, judgements)
    _, small = _made(report, Columns(_PICTURE_POINTS), running, judgements)
    html = {name: f'<section id="{name}">{text}</section>' for name, text in sections.all().items()}
    body = (
        f"{html.pop('head')}<main>{html.pop('tiles')}{html.pop('found')}{html.pop('judged')}"
        f'<section id="plots" aria-label="Plots">{_TOOLS}<p id="remark" role="status"></p>'
        f"<noscript>{pictures(small)}</noscript></section>{''.join(html.values())}</main>"
        f'<script type="application/json" id="data">{_json({"state": sections.state, "plots": plots})}</script>'
    )
    return _document(sections.title, body, events=bool(running))


def frame(
    report: RunReport,
    columns: Columns,
    *,
    running: str,
    judgements: Sequence[Judgement] | None = None,
    remark: str = "",
) -> dict[str, Any]:
    """Return everything that an open page shows: its sections and its plots."""
    sections, plots = _made(report, columns, running, judgements)
    return {
        "title": sections.title,
        "state": sections.state,
        "remark": report.secrets.masked(remark),
        "sections": sections.all(),
        "plots": plots,
    }


def _made(
    report: RunReport, columns: Columns, running: str, judgements: Sequence[Judgement] | None
) -> tuple[Sections, Plots]:
    columns.extend(report)
    judged = report.judgements if judgements is None else judgements
    return Sections(report, running, judged), plots_of(report, columns, judged)


def _json(value: Any) -> str:
    """Return JSON that no HTML can end."""
    return orjson.dumps(value).decode().replace("<", "\\u003c")


def _document(title: str, body: str, *, events: bool) -> str:
    style, (library, ours) = _style(), _scripts()
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(library)} {_hash(ours)}; img-src data:; "
        "base-uri 'none'; form-action 'none'" + ("; connect-src 'self'" if events else "")
    )
    # Without JavaScript, the page of a run that goes on is loaded again.
    again = '<noscript><meta http-equiv="refresh" content="5"></noscript>' if events else ""
    return (
        f'<!doctype html><html lang="en"{" data-events" if events else ""}><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<title>{escape(title)}</title><link rel="icon" href="{_ICON}">{again}<style>{style}</style></head>'
        f'<body>{body}<script>{library}</script><script type="module">{ours}</script></body></html>\n'
    )


@cache
def _style() -> str:
    return "".join((_STATIC / name).read_text(encoding="utf-8") for name in ("uplot.css", "page.css"))


@cache
def _scripts() -> tuple[str, str]:
    library, ours = ((_STATIC / name).read_text(encoding="utf-8") for name in ("uplot.js", "page.js"))
    return library, ours


@cache
def _hash(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
