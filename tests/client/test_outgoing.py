"""The frames of one connection: an error of its writer ends the connection, and is never silent."""

import asyncio
from typing import Any, cast

import pytest

from service.client.outgoing import Outgoing


class Socket:
    """Raises what it was given where it is written to."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.closed = 0

    async def send_frame(self, *frame: object) -> None:
        raise self.error

    async def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(("error", "closed"), [(ConnectionResetError(), 0), (RuntimeError("a bug"), 1)])
async def test_an_error_of_the_writer_ends_its_connection(
    error: Exception, closed: int, caplog: pytest.LogCaptureFixture
) -> None:
    socket = Socket(error)
    outgoing = Outgoing(cast("Any", socket))
    outgoing.text(b"x")
    async with asyncio.timeout(5):
        await outgoing.run()
    assert socket.closed == closed
    assert [record.message for record in caplog.records] == closed * [
        "the connection is closed: it cannot be written to"
    ]
