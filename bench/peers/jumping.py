"""The service on a clock that jumps: SIGUSR1 puts it an hour ahead, SIGUSR2 two hours back."""

import signal
import sys
import time
from types import FrameType

_true = time.time
_ahead = 0.0


def _jump(number: int, frame: FrameType | None) -> None:
    global _ahead
    _ahead += 3600.0 if number == signal.SIGUSR1 else -7200.0


def _jumping() -> float:
    return _true() + _ahead


time.time = _jumping
signal.signal(signal.SIGUSR1, _jump)
signal.signal(signal.SIGUSR2, _jump)

from service.__main__ import main  # noqa: E402 - code that imports the clock must get this one

sys.exit(main())
