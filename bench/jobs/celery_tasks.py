"""The tasks of a plain Celery worker, which does the same as the functions of the service."""

import os
import time
from pathlib import Path

from celery import Celery

from bench.jobs import functions
from bench.jobs.celery_alone import BROKER, VISIBILITY
from bench.jobs.functions import write_stamp

__all__ = ["app", "hold", "stamp", "take"]

app = Celery("bench", broker=os.environ.get(BROKER, "redis://127.0.0.1:6379/0"))
app.conf.task_ignore_result = True
app.conf.worker_hijack_root_logger = False
if seconds := os.environ.get(VISIBILITY):
    app.conf.broker_transport_options = {"visibility_timeout": float(seconds)}


def _hold(file: str, given: float) -> None:
    """Say when it began, and run for long unless it ran before."""
    again = Path(file).exists()
    write_stamp(file, given)
    if not again:
        time.sleep(600)


stamp = app.task(name="stamp")(write_stamp)
hold = app.task(name="hold", acks_late=True, reject_on_worker_lost=True)(_hold)
take = app.task(name="take", acks_late=True, reject_on_worker_lost=True)(functions.take)
