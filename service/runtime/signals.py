"""Handlers of signals for as long as a block runs."""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["handling"]

_Handler = Callable[[int, FrameType | None], Any] | signal.Handlers


@contextmanager
def handling(handlers: Mapping[signal.Signals, _Handler]) -> Iterator[None]:
    """Handle signals until the block ends; one that was ignored before stays ignored."""
    before = {number: signal.getsignal(number) for number in handlers}
    for number, handler in handlers.items():
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
