"""Why a program does not start: plainly to people, and as lines of the log where that is read."""

import logging
import sys

from service.ops.logs.lines import Redaction, line_of, printable, style_of

__all__ = ["complain"]


def complain(log_format: str | None, *lines: str) -> None:
    """Write these lines to standard error, in the format that was asked for."""
    style = style_of(log_format)
    for line in lines:
        record = logging.LogRecord("sluice", logging.ERROR, __file__, 0, line, None, None)
        text = line_of(record, style, Redaction()) if style == "json" else f"sluice: {printable(line)}\n"
        print(text, end="", file=sys.stderr)  # noqa: T201 - it may be closed, which print takes
