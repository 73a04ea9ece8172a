"""Whose error it is: an adapter's is reported with its file and line, so that its author finds it."""

import linecache
import sys
import traceback
from pathlib import Path

from loadtest.targets.base import Target

__all__ = ["blame", "is_ours"]

_PACKAGE = str(Path(__file__).parent.parent)


def is_ours(target: Target) -> bool:
    """Return whether an adapter comes with the load generator."""
    return type(target).__module__.startswith("loadtest.")


def blame(error: BaseException, name: str, target: Target | None) -> str:
    """Return what went wrong in an adapter and where, in one line."""
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    frames = traceback.extract_tb(error.__traceback__)
    module = sys.modules.get(type(target).__module__) if target is not None else None
    file = getattr(module, "__file__", None)
    where = [frame for frame in frames if frame.filename == file] or [
        frame for frame in frames if not frame.filename.startswith((_PACKAGE, sys.base_prefix))
    ]
    if not where:
        return f"--target {name}: {what}"
    line = linecache.getline(where[-1].filename, where[-1].lineno or 0).strip()
    return f"--target {name}: {what} ({where[-1].filename}, line {where[-1].lineno}: {line})"
