"""The schema of log lines, as docs/operations.md has it, and what a line has wrong."""

import re
from pathlib import Path
from typing import Any, Final

import orjson

__all__ = ["EVENTS", "FIELDS", "SETTINGS", "event_of", "wrong_with"]

_DOCUMENT: Final = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "text": str,
    "integer": int,
    "number": (int, float),
    "true or false": bool,
}
_ALWAYS: Final = ("time", "level", "logger", "message")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
SETTINGS: Final = "the settings"
"""Stands for fields that are named as settings are."""
LONGEST: Final = 64 << 10
"""Bytes of a line, from the document."""


def _rows(header: str) -> list[list[str]]:
    table = _DOCUMENT.partition(header)[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip()[1:-1].split("|")] for row in table]


EVENTS: Final = {
    message.strip("`"): (level, SETTINGS if SETTINGS in fields else frozenset(re.findall(r"`(\w+)`", fields)))
    for message, level, fields, *_ in _rows("| message | level |")
}
"""By message: the level, and which fields may be beside it."""
FIELDS: Final = {name.strip("`"): kind for name, kind, *_ in _rows("| field | type |")}
"""By name: the type."""


def event_of(line: bytes) -> dict[str, Any]:
    """Return a line of the log if it is as documented; raise an error that says what is wrong if it is not."""
    event: dict[str, Any] = orjson.loads(line)
    assert not (wrong := wrong_with(event)), f"{wrong}: {line!r}"
    assert len(line) <= LONGEST
    return event


def wrong_with(event: dict[str, Any]) -> str:
    """Return the first thing that is not as documented."""
    if tuple(event)[: len(_ALWAYS)] != _ALWAYS or not _TIME.fullmatch(event["time"]):
        return "it does not begin as every line does"
    if event["message"] not in EVENTS:
        return "its message is not listed"
    level, fields = EVENTS[event["message"]]
    if event["level"] != level:
        return f"its level is not {level}"
    for name in tuple(event)[len(_ALWAYS) :]:
        if fields is not SETTINGS and name not in fields:
            return f"{name} is not among its fields"
        kind = _TYPES[FIELDS[name]] if name in FIELDS else int
        if not isinstance(event[name], kind) or isinstance(event[name], bool):
            return f"{name} is not of its type"
    return ""
