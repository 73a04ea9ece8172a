"""The virtual clock: hours pass at once, and what is sent over loopback arrives before time passes."""

import asyncio
from threading import Event
from time import sleep

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


async def test_time_stands_still_while_a_thread_works_for_the_loop() -> None:
    loop = asyncio.get_running_loop()
    began, ticking = loop.time(), asyncio.create_task(tick())
    await asyncio.to_thread(sleep, 0.05)
    assert loop.time() == began
    ticking.cancel()


async def test_time_passes_a_thread_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual, "_THREAD", 0.01)
    go_on = Event()
    hanging = asyncio.create_task(asyncio.to_thread(go_on.wait, 30))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(hanging), 60)
    go_on.set()
    assert await hanging
