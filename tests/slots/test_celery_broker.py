"""Celery's broker as the service uses it: a broker that refuses, or never answers, delays nothing else."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

pytest.importorskip("celery", reason="Celery is not installed: pip install 'sluice[celery]'")

from service.jobs import celery_broker
from service.jobs.broker import BrokerAway, TaskMessage
from service.jobs.celery_broker import CeleryBroker
from tests.jobs.remote import BrokerContract

TASK = TaskMessage("1-" + "0" * 32, 1, "token")
URLS = ("redis://:secret-word@127.0.0.1:{}/0", "amqp://guest:secret-word@127.0.0.1:{}//")


@asynccontextmanager
async def mute_server() -> AsyncIterator[int]:
    """Take connections and say nothing, until the block ends."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def nothing_is_left() -> None:
    async with asyncio.timeout(30):
        while any(thread.name == "celery" for thread in threading.enumerate()):
            await asyncio.sleep(0.05)


class TestCeleryBroker(BrokerContract):
    """Over kombu's transport in memory; real brokers are in end_to_end/test_celery_jobs.py."""

    async def broker(self, *, away: bool = False) -> CeleryBroker:
        return CeleryBroker(URLS[0].format(1) if away else "memory://")

    async def tasks(self, broker: CeleryBroker) -> list[TaskMessage]:
        found = []
        with broker._app.connection_for_read() as connection:
            (name,) = broker._app.amqp.queues
            received = connection.SimpleQueue(name)
            while len(received):
                message = received.get_nowait()
                message.ack()
                found.append(TaskMessage(**message.payload[1]))
            received.close()
        return found

    @pytest.fixture(autouse=True)
    async def ends(self) -> AsyncIterator[None]:
        yield
        await nothing_is_left()


@pytest.mark.parametrize("url", URLS)
async def test_a_broker_that_refuses_is_away_at_once(url: str) -> None:
    broker = CeleryBroker(url.format(1))
    for _ in range(2):
        with pytest.raises(BrokerAway, match="refused"):
            await broker.publish(TASK)
    assert "secret-word" not in repr(broker)
    broker.close()
    broker.close()
    await nothing_is_left()


@pytest.mark.parametrize("url", URLS)
async def test_a_broker_that_never_answers_is_left_with_its_thread_and_few_of_them(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery_broker, "_DEADLINE", 0.1)
    async with mute_server() as port:
        broker = CeleryBroker(url.format(port))
        for _ in range(celery_broker._HUNG):
            with pytest.raises(BrokerAway, match="no answer within"):
                await broker.publish(TASK)
        with pytest.raises(BrokerAway, match="threads wait"):
            await broker.publish(TASK)
    broker.close()
    await nothing_is_left()


async def test_publishes_that_wait_behind_a_hung_one_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celery_broker, "_DEADLINE", 0.2)
    async with mute_server() as port:
        broker = CeleryBroker(URLS[0].format(port))
        errors = await asyncio.gather(*(broker.publish(TASK) for _ in range(20)), return_exceptions=True)
        assert all(isinstance(error, BrokerAway) for error in errors)
        assert len([thread for thread in threading.enumerate() if thread.name == "celery"]) == 1
    broker.close()
    await nothing_is_left()


async def test_all_brokers_of_a_list_are_tried() -> None:
    broker = CeleryBroker(";".join([*(URLS[0].format(port) for port in (1, 2, 3)), "memory://"]))
    await broker.publish(TASK)
    broker.close()
    await nothing_is_left()


class Connection:
    """A connection to a broker, which the network may cut."""

    alt = ()

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.cut = False

    def ensure_connection(self, **_: float) -> None:
        assert not self.cut

    def close(self) -> None:
        self.cut = True


class App:
    """Celery as a publisher uses it; with ``refuses`` every connection refuses its tasks."""

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.refuses = False
        self.amqp = self

    def connection_for_write(self) -> Connection:
        self.connections.append(Connection())
        return self.connections[-1]

    @contextmanager
    def Producer(self, connection: Connection) -> Iterator[Connection]:
        yield connection

    def send_task(self, name: str, kwargs: dict[str, str], producer: Connection, **_: bool) -> None:
        if producer.cut or self.refuses:
            raise ConnectionResetError("cut")
        producer.taken.append(kwargs["job"])


async def test_a_connection_that_was_cut_between_two_tasks_is_replaced_and_the_broker_is_not_away() -> None:
    app, broker = App(), CeleryBroker("memory://")
    broker._app = app
    await broker.publish(TASK)
    app.connections[0].cut = True
    await broker.publish(TASK)
    assert [one.taken for one in app.connections] == [[TASK.job], [TASK.job]]
    app.refuses = True
    with pytest.raises(BrokerAway, match="ConnectionResetError: cut"):
        await broker.publish(TASK)
    assert [one.cut for one in app.connections] == [True, True, True]
    broker.close()
    await nothing_is_left()
