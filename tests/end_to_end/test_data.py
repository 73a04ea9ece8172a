"""What ``--data`` keeps: everything that was acknowledged, through kills, once, at its position."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp

from service.client import Backoff, Client, Message
from tests.end_to_end.processes import Process, run, service, start

KILLS, WRITERS = 10, 4


class Publisher:
    """Publishes numbers with a key each, again and again until each is acknowledged."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.acknowledged: dict[int, tuple[str, int]] = {}
        self.numbers = iter(range(1_000_000))
        self.stop = False

    async def run(self) -> None:
        """Publish one after another until it is to stop."""
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(self.url, timeout=timeout) as session:
            while not self.stop:
                await self.publish(session, next(self.numbers))

    async def publish(self, session: aiohttp.ClientSession, number: int) -> None:
        """Publish one number, and note its position."""
        while True:
            try:
                answer = await session.post(
                    "/topics/t", json={"n": number}, headers={"Idempotency-Key": f'"{number}"'}
                )
                async with answer:
                    if answer.status == 200:
                        position = await answer.json()
                        self.acknowledged[number] = position["epoch"], position["offset"]
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.02)

    async def more(self, count: int) -> None:
        """Wait until so many more are acknowledged."""
        goal = len(self.acknowledged) + count
        async with asyncio.timeout(60):
            while len(self.acknowledged) < goal:
                await asyncio.sleep(0.005)


async def again(port: int, *options: str, env: dict[str, str] | None = None) -> Process:
    """Start the service once more at its port."""
    child = await start(sys.executable, "-m", "service", "serve", "--port", str(port), *options, env=env)
    line = await child.line()
    if "listening on" not in line:
        await child.close()
    assert "listening on" in line, child.errors.decode()
    child.url = line.split("listening on")[1].strip()
    return child


async def read(url: str, until: asyncio.Future[int], got: list[Any]) -> None:
    """Read the topic through every restart, up to the offset that is known at the end."""
    async with Client(url, backoff=Backoff(0.02, 0.2)) as client, client.subscribe("t", since="oldest") as stream:
        async for value in stream:
            got.append(value)
            if until.done() and isinstance(value, Message) and value.position.offset >= until.result():
                return


async def test_ten_kills_lose_nothing_that_was_acknowledged_and_repeat_nothing(tmp_path: Path) -> None:
    options = ("--data", str(tmp_path / "data"), "--ring-messages", "100000", "--ring-size", "67108864")
    async with service(*options) as first:
        port = first.port
        publisher = Publisher(first.url)
        got: list[Any] = []
        last: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        server = first
        async with asyncio.TaskGroup() as group:
            reader = group.create_task(read(first.url, last, got))
            writers = [group.create_task(publisher.run()) for _ in range(WRITERS)]
            for _ in range(KILLS):
                await publisher.more(30)
                await server.kill()
                server = await again(port, *options)
            await publisher.more(30)
            publisher.stop = True
            await asyncio.wait(writers)
            expected = dict(publisher.acknowledged)
            last.set_result(max(offset for _, offset in expected.values()))
            # The reader may have had everything by now: it looks when one more message comes.
            async with aiohttp.ClientSession(server.url) as session:
                await publisher.publish(session, next(publisher.numbers))
            await asyncio.wait_for(reader, 60)
        await server.stop()
    assert all(isinstance(value, Message) for value in got), "no gap, and no new beginning"
    received = {value.data["n"]: (value.position.epoch, value.position.offset) for value in got}
    assert len(received) == len(got), "nothing came twice"
    assert {number: received.get(number) for number in expected} == expected
    assert len({epoch for epoch, _ in publisher.acknowledged.values()}) == 1


async def test_a_second_service_on_a_directory_says_so_in_one_line(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    async with service("--data", data):
        code, out, err = await run(sys.executable, "-m", "service", "serve", "--port", "0", "--data", data)
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "another service uses this directory" in err


async def test_a_directory_that_cannot_be_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = await run(
        sys.executable, "-m", "service", "serve", "--port", "0", "--data", str(tmp_path / "file" / "data")
    )
    assert code == 1
    assert err.count("\n") == 1
    assert "Not a directory" in err


async def test_volatile_topics_are_not_kept_and_say_so(tmp_path: Path) -> None:
    options = ("--data", str(tmp_path / "data"), "--volatile", "cursor:*")
    async with service(*options) as server, aiohttp.ClientSession(server.url) as session:
        for name in ("kept", "cursor:1"):
            await (await session.post(f"/topics/{name}", json=1)).read()
        durable = [
            (await (await session.get(f"/topics/{name}")).json())["durable"] for name in ("kept", "cursor:1")
        ]
        assert durable == [True, False]
        port = server.port
        await server.stop()
        once_more = await again(port, *options)
        async with aiohttp.ClientSession(once_more.url) as after:
            assert (await after.get("/topics/kept")).status == 200
            assert (await after.get("/topics/cursor:1")).status == 404
        await once_more.stop()
