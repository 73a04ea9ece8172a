"""The table of all background work of the service: who runs it, and what a failure of it does.

Work that is not in the table cannot be started: :class:`Supervisor` and :class:`Periodic` look their name up here,
and a test finds every task that the code makes and requires its name to be here. ``/metrics`` counts failures by
these names (``sluice_task_failures_total``).
"""

from enum import Enum
from typing import Final

__all__ = ["BACKGROUND", "OTHER", "OnFailure"]


class OnFailure(Enum):
    """What is done about background work that raised. In all cases it is logged with its name and counted."""

    STOP = "restarted after a growing pause; when that does not help, the service stops with exit code 1"
    DISABLE = "restarted after a growing pause; when that does not help, it stays off until the next start"
    CONTINUE = "the next turn of the loop or of the timer comes as if nothing had happened"
    ITEM = "the one item that the task was made for fails with a reason; the task has no other work"


BACKGROUND: Final[dict[str, OnFailure]] = {
    # Tasks of the Supervisor. The service must not run without the first three: it could not refuse or forget.
    "loop lag": OnFailure.STOP,
    "overload": OnFailure.STOP,
    "sweep": OnFailure.STOP,
    "memory": OnFailure.DISABLE,
    "statistics": OnFailure.DISABLE,
    "cycles": OnFailure.DISABLE,
    "notify": OnFailure.DISABLE,
    # Timers (Periodic), and the thread that writes the log.
    "accept": OnFailure.CONTINUE,
    "connection pool": OnFailure.CONTINUE,
    "deadlines": OnFailure.CONTINUE,
    "expiries": OnFailure.CONTINUE,
    "heartbeat": OnFailure.CONTINUE,
    "held batches": OnFailure.CONTINUE,
    "idle watches": OnFailure.CONTINUE,
    "jobs": OnFailure.CONTINUE,
    "leases": OnFailure.CONTINUE,
    "late answers": OnFailure.CONTINUE,
    "log writer": OnFailure.CONTINUE,
    "slow bodies": OnFailure.CONTINUE,
    "stalled connections": OnFailure.CONTINUE,
    "watchdog": OnFailure.CONTINUE,
    # Tasks made for one item, which end with it.
    "fetch": OnFailure.ITEM,
    "handshake": OnFailure.ITEM,
    "job": OnFailure.ITEM,
    "job change": OnFailure.ITEM,
    "job offer": OnFailure.ITEM,
    "job output": OnFailure.ITEM,
    "job process": OnFailure.ITEM,
    "pipeline": OnFailure.ITEM,
    "resolve": OnFailure.ITEM,
    "robots": OnFailure.ITEM,
    "starting": OnFailure.ITEM,
    "step": OnFailure.ITEM,
    "watch": OnFailure.ITEM,
    # Of a Celery worker.
    "worker attempt": OnFailure.ITEM,
    "worker reports": OnFailure.ITEM,
    # Of `sluice fetch`.
    "progress": OnFailure.CONTINUE,
    "stall check": OnFailure.CONTINUE,
}
OTHER: Final = "other"
"""Where a failure is counted that came from one item, whose work has no name in the table."""
