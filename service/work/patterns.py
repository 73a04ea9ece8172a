"""Regular expressions that clients and users give to take keys out of lines: they match bytes."""

import re
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

__all__ = ["compile_pattern", "has_re2"]


def has_re2() -> bool:
    """Return whether patterns are compiled by google-re2 here, and not by Python's ``re``."""
    return find_spec("re2") is not None


@lru_cache(maxsize=64)
def compile_pattern(text: str) -> Any:
    """Return a pattern that matches bytes in linear time where the extra ``count`` is installed, or else Python's.

    Raises ValueError, for the client, where it does not compile or has not exactly one group.
    """
    pattern = _linear(text) if has_re2() else _backtracking(text)
    if pattern.groups != 1:
        raise ValueError(f"regex: has {pattern.groups} groups, and needs exactly one")
    return pattern


def _linear(text: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors, options.encoding = False, re2.Options.Encoding.LATIN1
    try:
        return re2.compile(text.encode(), options)
    except re2.error as error:
        raise ValueError(f"regex: {error.args[0].decode('utf-8', 'replace')}") from None


def _backtracking(text: str) -> "re.Pattern[bytes]":
    try:
        return re.compile(text.encode())
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"regex: {error}") from None
