"""Parameters that clients send, converted from JSON values into the types that declare them."""

from typing import Any, Final, TypeVar

import msgspec

from service.core.errors import InvalidParams

__all__ = ["convert"]

_Params = TypeVar("_Params")
_PASSED_ON: Final = frozenset({"data", "body", "args"})


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
