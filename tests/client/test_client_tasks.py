"""Every task of the client raises once here: each logs it, and none leaves somebody to wait for ever."""

import asyncio
from typing import Any, cast

import pytest

from service.client.backoff import Backoff
from service.client.errors import Disconnected
from service.client.link import Link
from service.client.renewal import Renewal


class Odd(RuntimeError):
    """What a bug raises."""


class Stream:
    """A stream of a batch: it has no topic yet."""

    topic = None
    left = over = False

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.error: Exception | None = None

    def end(self, error: Exception) -> None:
        self.error = error
        self.ended.set()


class Nowhere:
    """A transport on which nothing works."""

    def open(self) -> None:
        """Nothing is needed."""

    async def connect(self, token: str | None) -> Any:
        raise Odd

    async def post_batch(self, *_: object) -> Any:
        raise Odd

    async def close(self) -> None:
        """Nothing is held."""


class Credentials:
    """Credentials whose token has to be renewed every second."""

    expires = None

    def __init__(self) -> None:
        self.asked = 0
        self.again = asyncio.Event()

    async def current(self) -> None:
        return None

    def renew_in(self, _: float) -> float:
        return 1.0

    async def ask(self) -> str:
        return "t"

    def refused(self) -> bool:
        return False


def link() -> Link:
    return Link(cast("Any", Nowhere()), cast("Any", Credentials()), Backoff(), None)


async def test_a_batch_that_cannot_be_begun_ends_its_stream(caplog: pytest.LogCaptureFixture) -> None:
    one, stream = link(), Stream()
    one._error = None
    one.open_stream(cast("Any", stream), b"{}")
    await asyncio.wait_for(stream.ended.wait(), 60)
    assert isinstance(stream.error, Disconnected)
    assert [record.exc_info is not None for record in caplog.records] == [True]
    await one.close()


async def test_a_link_that_fails_ends_what_waits_for_it(caplog: pytest.LogCaptureFixture) -> None:
    one = link()
    one.start()
    with pytest.raises(Disconnected, match="a bug of the client"):
        await asyncio.wait_for(one.call("publish", b"{}", 1.0), 60)
    assert [record.exc_info is not None for record in caplog.records] == [True]
    await one.close()


async def test_a_renewal_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    tries, again = [], asyncio.Event()

    class Answering:
        async def call(self, *_: object) -> Any:
            tries.append(1)
            if len(tries) == 1:
                raise Odd
            again.set()
            await asyncio.Event().wait()

    renewal = Renewal(cast("Any", Credentials()), lambda _: None)
    task = asyncio.create_task(renewal.run(cast("Any", Answering())))
    await asyncio.wait_for(again.wait(), 600)
    assert [record.message for record in caplog.records] == ["internal error in the renewal of a token"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
