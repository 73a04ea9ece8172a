"""Calling many things one after another, none of which stops those that come after it."""

from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

__all__ = ["Containment"]


class Containment:
    """Contains an error to the item that it happened in: the core's form of ``runtime/containment.py``.

    The core has no loop to report to, only ``call_soon``. The error is raised in a later turn of the loop, on its
    own, and so reaches the same handler, which logs it with its traceback and counts it.
    """

    __slots__ = ("_call_soon",)

    def __init__(self, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self._call_soon = call_soon

    def __call__(self, action: Callable[..., object], *arguments: Any) -> bool:
        """Carry out an action; return whether it did not raise."""
        try:
            action(*arguments)
        except Exception as error:
            self.report(error)
            return False
        return True

    def report(self, error: Exception) -> None:
        """Have an error logged that was caught."""
        self._call_soon(partial(_raise, error))


def _raise(error: Exception) -> NoReturn:
    raise error
