"""Logging that never stops the loop: one line an event, bounded in length and by kind, written by a thread.

The message of an event is a constant text; its particulars go by name into ``extra``:
``_log.info("client evicted", extra={"client": owner, "reason": "lag"})``. The text is the event's kind.
"""

from service.ops.logs.complaints import complain
from service.ops.logs.lines import Redaction, line_of, printable, style_of
from service.ops.logs.writer import Logs

__all__ = ["Logs", "Redaction", "complain", "line_of", "printable", "style_of"]
