"""JSON Pointers (RFC 6901): the value that one leads to, as it is written.

No number is read, so that none is changed: 12345678901234567890124, 1.10 and 1e400 stay what they are. Of members
with one name the last counts, as in browsers.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from service.upstream.content.select_failed import NothingThere, SelectFailed

__all__ = ["value_at"]

_BLANK: Final = re.compile(r"[ \t\n\r]*")
_COMPACT: Final = re.compile(r'("(?:[^"\\]++|\\.)*+")|[ \t\n\r]+')
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not a value of JSON")


# The length of a number's text stands for it: its value is never needed, and may be too large to compute.
_DECODER: Final = json.JSONDecoder(parse_int=len, parse_float=len, parse_constant=_refuse)


def value_at(text: str, pointer: str) -> str:
    """Return the value without the blanks around its parts; raises SelectFailed."""
    try:
        start, end = _document(text)
        for part in pointer.split("/")[1:]:
            start, end = _part(text, start, part.replace("~1", "/").replace("~0", "~"))
    except json.JSONDecodeError as error:
        raise SelectFailed(
            f"the body is not JSON ({error.msg}, line {error.lineno} column {error.colno})"
            if text
            else "the body is empty"
        ) from None
    except RecursionError:
        raise SelectFailed("the body is JSON that is nested too deeply") from None
    except ValueError as error:
        raise SelectFailed(f"the body is not JSON ({error})") from None
    return _COMPACT.sub(r"\1", text[start:end])


def _document(text: str) -> tuple[int, int]:
    start = _after_blanks(text, 0)
    end = _end(text, start)
    if _after_blanks(text, end) != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    return start, end


def _end(text: str, start: int) -> int:
    """Return where the value that starts here ends."""
    return _DECODER.raw_decode(text, start)[1]


def _after_blanks(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    assert match is not None
    return match.end()


def _part(text: str, start: int, key: str) -> tuple[int, int]:
    """Return the span of what a value has under a key; all of it was found to be JSON before."""
    found = None
    if text[start] == "{":
        for name, span in _members(text, start):
            if name == key:
                found = span
    elif text[start] == "[" and _INDEX.fullmatch(key):
        index = int(key)
        found = next((span for number, span in enumerate(_elements(text, start)) if number == index), None)
    if found is None:
        raise NothingThere("there is nothing at this place")
    return found


def _members(text: str, start: int) -> Iterator[tuple[str, tuple[int, int]]]:
    at = _after_blanks(text, start + 1)
    while text[at] != "}":
        name, end = _DECODER.raw_decode(text, at)
        at = _after_blanks(text, _after_blanks(text, end) + 1)
        end = _end(text, at)
        yield name, (at, end)
        at = _next(text, end)


def _elements(text: str, start: int) -> Iterator[tuple[int, int]]:
    at = _after_blanks(text, start + 1)
    while text[at] != "]":
        end = _end(text, at)
        yield at, end
        at = _next(text, end)


def _next(text: str, end: int) -> int:
    """Return where the next value starts, or the bracket is that closes."""
    at = _after_blanks(text, end)
    return _after_blanks(text, at + 1) if text[at] == "," else at
