"""Where a server has put what makes a message known: a place in its JSON, or a regular expression."""

import json
import re
from collections.abc import Callable
from typing import Any

import orjson

__all__ = ["finder"]

_STEP = re.compile(r"\.([A-Za-z_$][\w$-]*)|\[(0|[1-9][0-9]{0,6})\]|\['([^']*)'\]|\[\"([^\"]*)\"\]")
_OPENING = re.compile(r"[\[{]")
_DECODER = json.JSONDecoder()
Finder = Callable[[bytes], bytes | None]


def finder(text: str) -> Finder | None:
    """Return what finds the text in a payload that ``--recognise`` describes; raises ValueError.

    ``$.data.id`` and ``/data/id`` are places in JSON (a path of names and indices, a JSON pointer), all else is a
    regular expression: its first group, or all of it.
    """
    if not text:
        return None
    if text.startswith("$"):
        return _at(_path(text))
    if text.startswith("/"):
        return _at([part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")])
    try:
        pattern = re.compile(text.encode(), re.DOTALL)
    except re.error as error:
        raise ValueError(f"--recognise: {text!r} is not a regular expression: {error}") from None

    def searched(payload: bytes) -> bytes | None:
        found = pattern.search(payload)
        return found[1 if pattern.groups else 0] if found else None

    return searched


def _path(text: str) -> list[str]:
    steps, at = [], 1
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise ValueError(
                f"--recognise: {text!r} is not a path such as $.data.id or $[2]['m']; from {text[at:]!r} on"
            )
        steps.append(next(part for part in found.groups() if part is not None))
        at = found.end()
    return steps


def _at(steps: list[str]) -> Finder:
    def found(payload: bytes) -> bytes | None:
        text = payload.decode("utf-8", "replace")
        # Around JSON some protocols have a frame of their own: Socket.IO's 42[...], the null byte of STOMP.
        start = _OPENING.search(text)
        try:
            value: Any = _DECODER.raw_decode(text, start.start() if start else 0)[0]
        except ValueError:
            return None
        for step in steps:
            value = _step(value, step)
        if isinstance(value, str):
            return value.encode()
        return None if value is None or isinstance(value, bool) else orjson.dumps(value)

    return found


def _step(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and step.isdigit() and int(step) < len(value):
        return value[int(step)]
    return None
