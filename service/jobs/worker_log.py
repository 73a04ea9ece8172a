"""What workers log: Celery's lines, with the particulars of ours behind the text."""

import logging
from typing import Any, Final

__all__ = ["add_particulars"]

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


def add_particulars(logger: logging.Logger, **_: Any) -> None:
    """Have the handlers of a logger write them; what else Celery says with its signal is not needed."""
    for handler in logger.handlers:
        handler.setFormatter(_Formatter(handler.formatter or logging.Formatter()))
