"""The broker of Celery: it is published to in a thread, as every step of that may block."""

import asyncio
import queue
import threading
from contextlib import suppress
from typing import Any, Final

import msgspec
from celery import Celery

from service.jobs.broker import BrokerAway, TaskMessage
from service.jobs.celery_app import TASK, celery_app

__all__ = ["CeleryBroker"]

_DEADLINE: Final = 10.0
"""Seconds for the broker to take a task."""
_PATIENCE: Final = 5.0
"""Seconds for one step of a conversation with it."""
_HUNG: Final = 4
"""Threads that wait for a broker without an end; with so many of them nothing more is tried."""
_Item = tuple[TaskMessage, asyncio.Future[None]]


class CeleryBroker:
    """Publishes through one connection; one that hangs is left behind, with its thread, for a new one."""

    def __init__(self, url: str) -> None:
        self._app = celery_app(url)
        self._app.conf.update(
            broker_heartbeat=0,  # nobody would send them between two tasks
            broker_connection_timeout=_PATIENCE,
            broker_transport_options={**self._app.conf.broker_transport_options, **_transport(url)},
        )
        self._publisher: _Publisher | None = None
        self._hung: list[_Publisher] = []

    def __repr__(self) -> str:
        return f"<CeleryBroker {self._app.connection_for_write().as_uri()}>"

    async def publish(self, task: TaskMessage) -> None:
        """Return when the broker has taken it; raise BrokerAway."""
        publisher = self._publisher or self._start()
        future = asyncio.get_running_loop().create_future()
        publisher.items.put((task, future))
        try:
            async with asyncio.timeout(_DEADLINE):
                await future
        except TimeoutError:
            self._leave(publisher)
            raise BrokerAway(f"no answer within {_DEADLINE:g} s") from None

    def _start(self) -> "_Publisher":
        self._hung = [one for one in self._hung if one.is_alive()]
        if len(self._hung) >= _HUNG:
            raise BrokerAway(f"{_HUNG} threads wait for its answer")
        self._publisher = _Publisher(self._app, asyncio.get_running_loop())
        self._publisher.start()
        return self._publisher

    def _leave(self, publisher: "_Publisher") -> None:
        """Leave a thread that has not answered in time."""
        if publisher is self._publisher:
            self._publisher = None
            publisher.items.put(None)
            self._hung.append(publisher)

    def close(self) -> None:
        """Have the thread end when it has published what it has."""
        if self._publisher is not None:
            self._publisher.items.put(None)
            self._publisher = None


class _Publisher(threading.Thread):
    """A thread with a connection of its own, until it is given None."""

    def __init__(self, app: Celery, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="celery", daemon=True)
        self.items: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._app = app
        self._loop = loop
        self._connection: Any = None

    def run(self) -> None:
        """Publish one task after another."""
        while (item := self.items.get()) is not None:
            task, future = item
            if future.done():
                continue
            try:
                self._deliver(task)
            except Exception as error:  # of the broker's library, the transport's, or the system's
                self._disconnect()
                self._answer(future, BrokerAway(f"{type(error).__name__}: {error}"[:500]))
            else:
                self._answer(future, None)
        self._disconnect()

    def _deliver(self, task: TaskMessage) -> None:
        """Publish a task over the present connection, or over a new one if that fails."""
        if self._connection is not None:
            try:
                return self._publish(task)
            except Exception:  # a new connection shows whether anything is wrong
                self._disconnect()
        connection = self._app.connection_for_write()
        tries = max(1, len(connection.alt))  # a URL may name several brokers; without a bound it tries for ever
        connection.ensure_connection(max_retries=tries, interval_start=0, interval_step=0)
        self._connection = connection
        self._publish(task)

    def _publish(self, task: TaskMessage) -> None:
        with self._app.amqp.Producer(self._connection) as producer:
            self._app.send_task(TASK, kwargs=msgspec.structs.asdict(task), producer=producer, retry=False)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # it is broken, or it was idle: what it says at its end does not matter
                connection.close()

    def _answer(self, future: "asyncio.Future[None]", error: BrokerAway | None) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(_settle, future, error)


def _settle(future: "asyncio.Future[None]", error: BrokerAway | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _transport(url: str) -> dict[str, object]:
    """Return what makes a step of a conversation end in time."""
    if url.startswith("redis"):
        return {"socket_timeout": _PATIENCE, "socket_connect_timeout": _PATIENCE}
    return {"confirm_publish": True, "read_timeout": _PATIENCE, "write_timeout": _PATIENCE}
