"""What signals do until a command handles them itself: nothing is open yet, so the process ends at once.

Without this a SIGHUP would end a service that is about to start, and Ctrl-C would print a traceback of its imports.
"""

import os
import signal
from contextlib import AbstractContextManager
from types import FrameType
from typing import Final

from service.runtime.signals import handling

__all__ = ["start_signals"]

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_BY_SIGNAL: Final = 128
"""A shell adds this to the number of the signal that ended a program."""


def start_signals(*, serving: bool) -> AbstractContextManager[None]:
    """End on SIGTERM and SIGINT with one line; a program that serves ignores SIGHUP.

    What was ignored before stays ignored. A command replaces these handlers when it has something to close.
    """
    return handling(dict.fromkeys(_ENDING, _end) | ({signal.SIGHUP: signal.SIG_IGN} if serving else {}))


def _end(number: int, _: FrameType | None) -> None:
    text = f"sluice: stopped by {signal.Signals(number).name} during the start\n"
    try:
        os.write(2, text.encode())
    finally:
        os._exit(_BY_SIGNAL + number)
