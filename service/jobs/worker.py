"""The program of Celery workers: ``celery -A service.jobs.worker worker``.

Each process of a worker has a loop of its own, that runs while an attempt is made, and a process below it that runs
the functions, as the service itself has them (``slots.py``).
"""

import asyncio
import os
import sys
import threading
from typing import Any

from celery import Celery, current_task, signals

from service.jobs.broker import TaskMessage
from service.jobs.celery_app import TASK, celery_app
from service.jobs.redis_tasks import forget_tasks_of_lost_channels
from service.jobs.service_link import HttpLink
from service.jobs.slots import Slots, SlotsUnusable, open_slots
from service.jobs.worker_attempt import WorkerAttempt
from service.jobs.worker_log import add_particulars
from service.jobs.worker_settings import WorkerSettings, WorkerUnusable, read_settings

__all__ = ["app"]


def _settings() -> WorkerSettings:
    try:
        return read_settings(os.environ)
    except WorkerUnusable as error:
        sys.exit(str(error))


forget_tasks_of_lost_channels()
_SETTINGS = _settings()
app: Celery = celery_app(_SETTINGS.broker)


def check_functions(**_: Any) -> None:
    """End a worker at its start whose functions cannot be imported."""
    try:
        asyncio.run(_import_once())
    except SlotsUnusable as error:
        sys.exit(f"SLUICE_JOBS {error}")


async def _import_once() -> None:
    slots = await open_slots(_SETTINGS.module, 1, _SETTINGS.memory)
    if slots is not None:
        await slots.close()


class _Runner(threading.local):
    """The loop and the process of this process of a worker, or of this thread."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._slots: Slots | None = None

    def run(self, task: TaskMessage, name: str) -> None:
        """Make the attempt of a task."""
        self._runner.run(self._make(task, name))

    async def _make(self, task: TaskMessage, name: str) -> None:
        if self._slots is None:
            self._slots = Slots(_SETTINGS.module, 1, _SETTINGS.memory)
        async with HttpLink(_SETTINGS.url, _SETTINGS.tls) as link:
            await WorkerAttempt(task, link, self._slots, name).run()


_RUNNER = _Runner()


def attempt(job: str, attempt: int, token: str) -> None:
    """Make an attempt, if it is this worker's to make."""
    _RUNNER.run(TaskMessage(job, attempt, token), str(current_task.request.hostname)[:128])


app.task(attempt, name=TASK)
signals.worker_init.connect(check_functions, weak=False)
signals.after_setup_logger.connect(add_particulars, weak=False)

if __name__ == "__main__":
    # `python -P -m service.jobs.worker`: `celery` would import what the folder has that it is run in before ours.
    app.worker_main(["worker", *sys.argv[1:]])
