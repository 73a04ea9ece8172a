"""Celery as both sides use it: the service, which publishes tasks, and ``service.jobs.worker``, which runs them.

Of Celery's own state nothing is used: no result backend, no countdown, no revoked tasks. A task that comes twice is
refused by the service when it is claimed, so that what a broker does after a time of its own is harmless.
"""

import socket
from typing import Final

from celery import Celery

__all__ = ["TASK", "celery_app"]

TASK: Final = "sluice.attempt"
_QUEUE: Final = "sluice"
_LONGEST: Final = 2 * 86_400 * 1000
"""Milliseconds that RabbitMQ (3.12 or newer) waits for a worker to acknowledge a task: an attempt takes a day at
most. By default RabbitMQ closes the channel after 30 minutes, and delivers the task once more."""

_REDIS: Final = {
    "socket_keepalive": True,
    "socket_keepalive_options": {
        socket.TCP_KEEPIDLE: 10,
        socket.TCP_KEEPINTVL: 5,
        socket.TCP_KEEPCNT: 4,
        socket.TCP_USER_TIMEOUT: 30_000,
    },
}
"""A worker notices after 30 s that the network has dropped its connection silently; by default that takes two
hours, as it only waits for Redis and sends nothing (celery#10502). RabbitMQ has heartbeats."""


def celery_app(url: str) -> Celery:
    """Return an application for a broker."""
    app = Celery("sluice", broker=url, set_as_current=False)
    app.conf.update(
        task_acks_late=True,  # a worker that dies before its claim has the task go to another at once
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_queues={
            _QUEUE: {
                "exchange": _QUEUE,
                "routing_key": _QUEUE,
                "queue_arguments": {"x-consumer-timeout": _LONGEST},
            }
        },
        task_default_queue=_QUEUE,
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # the attempt goes on: its lease counts
        worker_enable_soft_shutdown_on_idle=False,
        broker_connection_retry_on_startup=True,
        # By default a worker ends when its broker refuses a command: when Redis is full, or read-only during a
        # failover, or when RabbitMQ has closed a channel. With this it connects again, as after an outage.
        broker_channel_error_retry=True,
        broker_connection_max_retries=None,  # for ever: a worker that has given up looks as if it were working
    )
    if url.startswith("redis"):
        app.conf.broker_transport_options = dict(_REDIS)
    return app
