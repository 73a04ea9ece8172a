"""What workers log: Celery's lines; those of sluice have their particulars after the text.

While its broker refuses commands, a worker connects again several times a second: each of the lines about that is
written once a minute.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from service.core.occurrences import Occurrences

__all__ = ["OnceAMinute", "add_particulars"]

_RECONNECTING: Final = "celery.worker.consumer"
"""The logger, and its children, of the code that connects to the broker."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "data"}


class _Formatter(logging.Formatter):
    """The formatter that Celery has made, and the particulars."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = self._inner.format(record)
        if not record.name.startswith("sluice."):
            return line
        return " ".join(
            [line, *(f"{name}={value!r}" for name, value in vars(record).items() if name not in _STANDARD)]
        )


class OnceAMinute(logging.Filter):
    """Passes each line about the connection to the broker once a minute, and every other line always."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._lines: defaultdict[tuple[str, str], Occurrences] = defaultdict(lambda: Occurrences(clock))

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is written."""
        if not record.name.startswith(_RECONNECTING):
            return True
        return self._lines[record.name, str(record.msg)[:100]].happened() > 0


def add_particulars(logger: logging.Logger, **_: Any) -> None:
    """Have the handlers of a logger write them; what else Celery says with its signal is not needed."""
    for handler in logger.handlers:
        handler.addFilter(OnceAMinute())
        handler.setFormatter(_Formatter(handler.formatter or logging.Formatter()))
