"""The virtual clock: hours pass at once, and what is sent over loopback arrives before time passes."""

import asyncio

import pytest

from tests import virtual


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


async def tick() -> None:
    while True:
        await asyncio.sleep(1)


async def test_only_a_long_silence_is_cut_short_and_what_ends_it_arrives_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short: list[float] = []
    monkeypatch.setattr(virtual, "sleep", short.append)
    loop, ticking = asyncio.get_running_loop(), asyncio.create_task(tick())
    async with await asyncio.start_server(echo, "127.0.0.1") as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await asyncio.sleep(90.5)
        assert short == []
        await asyncio.sleep(510)
        assert len(short) > 480
        for number in range(3):
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
            assert loop.time() < 601 + 90 * number
            count = len(short)
            await asyncio.sleep(90)
            assert len(short) == count
        writer.close()
        await writer.wait_closed()
    ticking.cancel()
