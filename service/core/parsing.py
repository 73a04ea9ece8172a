"""JSON that clients send: passed on exactly as it came, or refused (RFC 8259); parameters, converted into types.

A number that our parser would round, or half of a surrogate pair, which UTF-8 cannot carry, is refused instead of
changed. Nearly every text is read by orjson alone. Only one with a long number, or one that orjson refuses, is read
once more by the standard library, which keeps everything.
"""

import json
import re
from decimal import Decimal
from typing import Any, Final, NoReturn, TypeVar

import msgspec
import orjson

from service.core.errors import InvalidParams, ParseError, TooLarge

__all__ = ["check_exact", "convert", "id_in", "parse", "parse_requests"]

_Params = TypeVar("_Params")
_PASSED_ON: Final = frozenset({"data", "body", "args"})
"""Parameters that carry clients' data."""

# 2**63 has 19 digits. An expression for that many digits takes twenty times as long as these two steps.
_LONG_NUMBER: Final = b"0" * 19
_TO_ZEROS: Final = bytes.maketrans(b"E123456789", b"e" + b"0" * 9)
_MOST_DIGITS: Final = 20
"""Digits and sign of the longest integers of 64 bits, -9223372036854775808 and 18446744073709551615."""
_TINY: Final = b"0e-000"
"""Perhaps a number below the smallest double: orjson reads it as 0."""
_DOUBLE_DIGITS: Final = 17
"""Significant digits that tell every double from all others: programs write them, and mean the double."""
_SMALLEST: Final = 2.2250738585072014e-308
"""The smallest double of full precision."""
_PART: Final = 64 << 10
"""Bytes of a text that are searched at once, 50 us: other threads take their turns between two of them."""
_TOO_DEEP: Final = "nested too deeply"
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_ID: Final = re.compile(rb'\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)')


class _Inexact:
    """Stands for a number that no reader could be given unchanged: orjson does not encode it."""


def parse(text: bytes | bytearray) -> Any:
    """Return the JSON value.

    Raises ParseError for what is not JSON (RFC 8259, section 8.1: neither is invalid UTF-8), InvalidParams for what
    could not be passed on exactly, and TooLarge for what is nested too deeply.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        check_exact(_parse_loosely(text))
        # It is JSON, and nothing in it is inexact: how deep each of the two goes is all that is left.
        raise TooLarge(_TOO_DEEP) from None
    if _may_be_inexact(text):
        check_exact(_parse_loosely(text))
    return value


def _may_be_inexact(text: bytes | bytearray) -> bool:
    """Return whether a text may have a number that orjson rounds."""
    if len(text) > _PART:
        return any(_may_be_inexact(text[at : at + _PART]) for at in range(0, len(text), _PART - len(_LONG_NUMBER)))
    zeros = text.translate(_TO_ZEROS)
    return _LONG_NUMBER in zeros or _TINY in zeros


def parse_requests(text: bytes) -> tuple[Any, bool]:
    """Return the JSON value, and whether all of it is exact; where not, :func:`check_exact` finds the culprits.

    Raises ParseError and TooLarge.
    """
    try:
        return parse(text), True
    except InvalidParams:
        value = _parse_loosely(text)
        for request in value if isinstance(value, list) else [value]:
            if isinstance(request, dict) and isinstance(number := request.get("id"), str) and not _is_text(number):
                # No answer could carry it.
                request["id"] = _Inexact()
        return value, False


def _parse_loosely(text: bytes | bytearray) -> Any:
    try:
        return json.loads(text.decode(), parse_int=_integer, parse_float=_number, parse_constant=_not_a_number)
    except RecursionError:
        raise TooLarge(_TOO_DEEP) from None
    except ValueError as error:
        raise ParseError(f"not JSON: {error}") from None


def check_exact(value: Any) -> None:
    """Raise InvalidParams for a value of :func:`parse_requests` that cannot be passed on exactly."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        if "Recursion" in str(error):
            return
        raise InvalidParams(
            "there is an integer beyond 64 bits, a number that a double cannot hold, or half of a surrogate pair, "
            "which cannot be passed on unchanged; send numbers like that as strings"
        ) from None


def _is_text(text: str) -> bool:
    """Return whether a text is without halves of surrogate pairs."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def id_in(text: bytes) -> str | int | float | None:
    """Return the id of a request that is nested too deeply to be read, where it has one on its top level."""
    depth = 0
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if sign in (b"{", b"["):
            depth += 1
        elif sign in (b"}", b"]"):
            depth -= 1
        elif depth == 1 and sign == b'"id"' and (found := _ID.match(text, token.end())):
            return _id(found[1])
    return None


def _id(text: bytes) -> str | int | float | None:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, str | int | float) else None


def _integer(digits: str) -> Any:
    if len(digits) > _MOST_DIGITS:
        return _Inexact()
    value = int(digits)
    return value if -(1 << 63) <= value < 1 << 64 else _Inexact()


def _number(text: str) -> Any:
    value = float(text)
    if abs(value) == float("inf"):
        return _Inexact()
    mantissa = text.lower().partition("e")[0].strip("-").replace(".", "").strip("0")
    if len(mantissa) <= _DOUBLE_DIGITS and abs(value) >= _SMALLEST:
        return value
    return value if not mantissa or Decimal(text) in (Decimal(repr(value)), Decimal(value)) else _Inexact()


def _not_a_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def convert(params: Any, kind: type[_Params]) -> _Params:
    """Return the parameters as ``kind``; raises InvalidParams, which names the parameter that is wrong."""
    if not isinstance(params, dict):
        raise InvalidParams("params: an object with named parameters")
    try:
        return msgspec.convert(params, kind)
    except msgspec.ValidationError:
        # In JSON Schema 2.0 is an integer, so it has to be one here; it is rare enough for a second try.
        return _convert(_whole(params), kind)


def _convert(params: Any, kind: type[_Params]) -> _Params:
    try:
        return msgspec.convert(params, kind)
    except msgspec.ValidationError as error:
        raise InvalidParams(_readable(error)) from None


def _whole(value: Any, depth: int = 3) -> Any:
    """Return the value with whole floats as integers, as deep as any parameter may have one.

    Data that is passed on for clients stays as it is.
    """
    if isinstance(value, dict) and depth:
        return {name: part if name in _PASSED_ON else _whole(part, depth - 1) for name, part in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _readable(error: msgspec.ValidationError) -> str:
    """Put the path first, as in every other refusal: ``topic: Expected `str`, got `int```."""
    text, _, path = str(error).partition(" - at `$")
    return f"{path.strip('.`')}: {text}" if path else text
