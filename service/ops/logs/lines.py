"""How an event is written: as one object of JSON for machines, or as a line of text for people."""

import json
import logging
import re
import sys
import traceback
from collections.abc import Iterable
from math import isfinite
from typing import Any, Final, Literal, TextIO

from service.runtime.timestamps import timestamp

__all__ = ["Redaction", "Style", "line_of", "printable", "style_of"]

Style = Literal["text", "json"]

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_RESERVED: Final = frozenset({"time", "level", "logger", "message", "exception"})
"""What a line says itself: particulars of these names get an underscore."""
_LONGEST: Final = 2048
"""Characters of one value: what clients and upstreams send gets into logs, and should not fill them."""
_LONGEST_TRACEBACK: Final = 16 << 10
_LONGEST_LINE: Final = 64 << 10
"""Characters of a line of JSON, which has twelve for one of some scripts; a longer one is cut to an eighth."""
_SHORTEST_SECRET: Final = 8
"""Characters; a shorter secret would blacken every word that it happens to be in."""
_ALWAYS: Final = (
    r"(?P<scheme>\b(?:bearer|basic)[ .]+)[\w.~+/=-]{8,}",  # RFC 6750, RFC 7617, and our subprotocol's entry
    r"(?P<user>://)[^/\s\"'@]+(?=@)",  # the userinfo of a URL, RFC 3986
    r"(?P<query>[?&](?:access_?)?(?:token|key|secret|password|signature|sig)=)[^&\s\"']+",
    r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*",  # a JWT, RFC 7519
)
_PLAIN: Final = re.compile(r"[^\s\"=\\]+")


def style_of(wanted: str | None, stream: TextIO | None = None) -> Style:
    """Return how to write: as it is wanted, or else text for a terminal and JSON for anything else."""
    if wanted in ("text", "json"):
        return "text" if wanted == "text" else "json"
    return "text" if (stream or sys.stderr).isatty() else "json"


class Redaction:
    """Blackens credentials in a line: those that are known, and texts that look like some."""

    def __init__(self, secrets: Iterable[str | None] = ()) -> None:
        known = {
            form for secret in secrets if secret and len(secret) >= _SHORTEST_SECRET for form in _forms(secret)
        }
        self._pattern = re.compile(
            "|".join([*map(re.escape, sorted(known, key=len, reverse=True)), *_ALWAYS]), re.IGNORECASE
        )

    def __call__(self, text: str) -> str:
        """Return the text without them."""
        return self._pattern.sub(lambda found: f"{found[found.lastgroup] if found.lastgroup else ''}***", text)


def line_of(record: logging.LogRecord, style: Style, redact: Redaction) -> str:
    """Return the line of an event, with its end."""
    try:
        message = record.getMessage()
    except Exception:
        # Arguments that do not fit their text are a bug, and no reason to lose the event.
        message = f"{record.msg} {record.args}"
    fields = {
        f"{name}_" if name in _RESERVED else name: value
        for name, value in vars(record).items()
        if name not in _STANDARD and value is not None
    }
    error = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
    line = _json if style == "json" else _text
    return redact(line(record, message, fields, error[-_LONGEST_TRACEBACK:])) + "\n"


def _json(record: logging.LogRecord, message: str, fields: dict[str, Any], error: str) -> str:
    begun = {"time": timestamp(record.created), "level": record.levelname.lower(), "logger": record.name}
    for part in (1, 8):
        line: dict[str, int | float | str] = {**begun, "message": _cut(message, part)}
        line |= {name: _value(value, part) for name, value in fields.items()}
        if error:
            line["exception"] = _clean(error[-_LONGEST_TRACEBACK // part :])
        if len(text := json.dumps(line)) <= _LONGEST_LINE:
            break
    return text


def _value(value: object, part: int) -> int | float | str:
    """Return what JSON has of a value: a number, or a text."""
    if isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value)):
        return value
    return _cut(str(value), part)


def _text(record: logging.LogRecord, message: str, fields: dict[str, Any], error: str) -> str:
    shown = "".join(f" {name}={_word(value)}" for name, value in fields.items())
    line = f"{timestamp(record.created)} {record.levelname} {record.name}: {printable(_cut(message))}{shown}"
    # Indented, so that no text of a client's or an upstream's looks like an event.
    return "\n    ".join([line, *map(printable, error.rstrip().split("\n"))]) if error else line


def _cut(text: str, part: int = 1) -> str:
    most = _LONGEST // part
    return _clean(text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)")


def _clean(text: str) -> str:
    """Return a text without lone surrogates, which stand for bytes and which no parser of JSON has to take."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _word(value: Any) -> str:
    text = _cut(str(value))
    return text if text.isprintable() and _PLAIN.fullmatch(text) else json.dumps(text)


def printable(text: str) -> str:
    """Return a text that stays on its line, also when a client sent line breaks."""
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)


def _forms(secret: str) -> tuple[str, str]:
    return secret, json.dumps(secret)[1:-1]
