"""The JavaScript module as its users have it: under Node, from the service, through cuts, restarts and drains."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from tests.end_to_end.cutting import cutting
from tests.end_to_end.driving import HERE, Driver, driver, node
from tests.end_to_end.processes import ROOT, Process, origin, run, service


async def publish(server: Process, *data: Any, topic: str = "t") -> Any:
    """Publish beside the client and its proxy; return the last answer."""
    async with aiohttp.ClientSession() as session:
        for value in data:
            async with session.post(f"{server.url}/topics/{topic}", json=value) as answer:
                last = await answer.json()
    return last


async def ask(server: Process, path: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(f"{server.url}{path}") as answer:
        return await answer.json()


def fetching(upstream: Process) -> tuple[str, ...]:
    return ("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port))


def named(name: str) -> Callable[[dict[str, Any]], bool]:
    """Return whether a report is of the call with this name."""
    return lambda reported: reported.get("name") == name


async def test_a_topic_through_twenty_cuts(tmp_path: Path) -> None:
    async with service() as server, cutting(server.port) as cutter, driver(tmp_path, server, cutter.port) as client:
        await client.do("subscribe", "t", {"since": "oldest"})
        items = []
        for cut in range(20):
            await client.state("open")
            await publish(server, *range(cut * 20, cut * 20 + 20))
            items += await client.items(10)  # the other ten are on their way, or not yet
            cutter.cut()
        items += await client.items(200)
        assert [item["data"] for item in items] == list(range(400))
        assert [item["offset"] for item in items] == list(range(1, 401))
        assert cutter.accepted >= 20


async def test_a_gap_is_reported(tmp_path: Path) -> None:
    async with (
        service("--ring-messages", "10") as server,
        cutting(server.port) as cutter,
        driver(tmp_path, server, cutter.port) as client,
    ):
        await client.do("subscribe", "t", {"since": "oldest"})
        await publish(server, 1, 2)
        await client.items(2)
        cutter.down = True
        cutter.cut()
        await publish(server, *range(3, 31))
        cutter.down = False
        first, *rest = await client.items(11)
    assert first == {"gap": {"from": 3, "to": 20}}
    assert [item["data"] for item in rest] == list(range(21, 31))


async def test_a_restart_is_reported(tmp_path: Path) -> None:
    async with service() as first, cutting(first.port) as cutter, driver(tmp_path, first, cutter.port) as client:
        await client.do("subscribe", "t", {"since": "oldest"})
        await publish(first, 1, 2)
        await client.items(2)
        async with service() as second:
            epoch = (await publish(second, 3))["epoch"]
            cutter.target = second.port
            cutter.cut()
            reported, message = await client.items(2)
            assert reported == {"restart": {"epoch": epoch, "offset": 0}}
            assert (message["epoch"], message["offset"], message["data"]) == (epoch, 1, 3)


async def test_a_drain_leads_to_the_next_instance(tmp_path: Path) -> None:
    async with (
        service("--drain", "2") as first,
        service() as second,
        cutting(first.port) as cutter,
        driver(tmp_path, first, cutter.port) as client,
    ):
        await client.do("subscribe", "t", {"since": "oldest"})
        await publish(first, 1)
        await client.items(1)
        cutter.target = second.port
        first.process.terminate()
        assert (await client.state("closing"))["reason"] == "draining"
        waiting = await client.state("waiting")
        await publish(second, 2)
        reported, message = await client.items(2)
    assert waiting["code"] == 1001
    assert 1 <= waiting["after"] <= 1.5
    assert "restart" in reported
    assert message["data"] == 2


async def test_publishing_through_cuts_happens_once(tmp_path: Path) -> None:
    async with service() as server, cutting(server.port) as cutter, driver(tmp_path, server, cutter.port) as client:
        for first in range(0, 200, 40):
            await client.state("open")
            for number in range(first, first + 20):
                await client.do("publish", "t", number, name=f"p{number}")
            await client.until(named(f"p{first}"))
            cutter.deaf = True  # what follows is carried out, and its answers are lost
            for number in range(first + 20, first + 40):
                await client.do("publish", "t", number, name=f"p{number}")
            async with asyncio.timeout(60):
                while (await ask(server, "/topics/t"))["offset"] < first + 40:
                    pass
            cutter.cut()
            cutter.deaf = False
        assert (await client.state("waiting"))["code"] == 1006
        answers = [reported async for reported in _answers(client, 195)]
        assert sorted(reported["answer"]["offset"] for reported in answers) == [
            n for n in range(1, 201) if n % 40 != 1
        ]
        await client.do("subscribe", "t", {"since": "oldest"}, name="all")
        items = await client.items(200, "all")
        assert [item["data"] for item in items] == list(range(200))
        assert (await ask(server, "/topics/t"))["offset"] == 200


async def _answers(client: Driver, count: int) -> AsyncIterator[dict[str, Any]]:
    for _ in range(count):
        yield await client.until(lambda reported: "answer" in reported or "error" in reported)


async def test_a_batch_through_cuts_has_each_event_once(tmp_path: Path) -> None:
    async with (
        origin() as upstream,
        service(*fetching(upstream)) as server,
        cutting(server.port) as cutter,
        driver(tmp_path, server, cutter.port) as client,
    ):
        urls = [f"{upstream.url}/slow/{20 + number % 7}?{number}" for number in range(300)]
        await client.do("fetch", urls, {"concurrency": 10})
        taken = []
        for _ in range(6):
            await client.state("open")
            taken += await client.items(30)
            cutter.cut()
        taken += await client.rest()
    *results, done = taken
    assert done["event"] == "done"
    assert done["ok"] == 300
    assert sorted(result["index"] for result in results) == list(range(300))
    assert cutter.accepted >= 6


async def test_a_batch_larger_than_a_message_is_posted(tmp_path: Path) -> None:
    async with (
        origin() as upstream,
        service(*fetching(upstream)) as server,
        driver(tmp_path, server, server.port) as client,
    ):
        await client.do("fetch", [f"{upstream.url}/bytes/5?{'x' * 30}{number}" for number in range(3000)])
        *results, done = await client.rest()
    assert done["ok"] == len({result["index"] for result in results}) == 3000


async def test_a_batch_that_is_left_is_cancelled_and_one_can_be_cancelled_and_read(tmp_path: Path) -> None:
    async with (
        origin() as upstream,
        service(*fetching(upstream)) as server,
        driver(tmp_path, server, server.port) as client,
    ):
        urls = [f"{upstream.url}/bytes/5", *(f"{upstream.url}/slow/20000?{number}" for number in range(3))]
        await client.do("fetch", urls, most=1)
        await client.items(1)
        await client.rest()
        await client.do("fetch", urls[1:], name="b")
        assert await client.call("cancel", name="b") == {"cancelled": 3}
        *failed, done = await client.rest("b")
        assert [event["error"] for event in failed] == ["cancelled"] * 3
        assert done["failed"] == 3
        # This includes the first batch: none of its URLs is fetched any more.
        metrics = f"{server.url}/metrics"
        async with aiohttp.ClientSession() as session, session.get(metrics) as answer:
            assert "sluice_batches_running 0.0" in await answer.text()


async def test_a_stream_that_is_left_reads_no_more(tmp_path: Path) -> None:
    async with service() as server, driver(tmp_path, server, server.port) as client:
        for _ in range(3):  # the same topic again, at once
            await client.do("subscribe", "t", {"since": "oldest"}, most=1)
            await publish(server, 1)
            await client.items(1)
            await client.rest()
        assert await client.call("call", "presence", {"topic": "t"}) == {"readers": 0}
        await client.do("subscribe", "t", name="b")
        await client.until(lambda reported: reported.get("name") == "b" and "started" in reported)
        await client.do("subscribe", "t", {"since": "oldest"}, name="c", most=3)
        await client.rest("c")  # another stream of the topic, with a place of its own
        await publish(server, 2)
        assert [item["offset"] for item in await client.items(1, "b")] == [4]


async def test_who_does_not_read_holds_a_bounded_part_and_misses_nothing(tmp_path: Path) -> None:
    async with (
        origin() as upstream,
        service(*fetching(upstream), "--rings-size", "67108864", "--ring-size", "33554432") as server,
        driver(tmp_path, server, server.port) as client,
    ):
        await client.do("subscribe", "t", {"since": "oldest"}, later=True)
        await publish(server, *("x" * 50_000 for _ in range(100)))
        await client.do("fetch", [f"{upstream.url}/bytes/50000?{n}" for n in range(100)], name="b", later=True)
        await client.do("fetch", [f"{upstream.url}/bytes/5?{n}" for n in range(100)], name="c")
        await client.rest("c")
        await _stays(lambda: client.call("held", name="a"), 1 << 20, (1 << 20) + 60_000)
        await _stays(lambda: client.call("held", name="b"), 1 << 20, (1 << 20) + 60_000)
        assert (await ask(server, "/topics/t"))["readers"] == 0
        await client.do("read", most=100)
        assert [item["offset"] for item in await client.rest()] == list(range(1, 101))
        await client.do("read", name="b")
        *results, done = await client.rest("b")
    assert done["ok"] == len({result["index"] for result in results}) == 100


async def _stays(value: Callable[[], Any], least: int, most: int) -> None:
    async with asyncio.timeout(60):
        while await value() < least:
            pass
    assert await value() <= most


async def test_a_watch_through_a_cut_repeats_nothing(tmp_path: Path) -> None:
    async with (
        origin() as upstream,
        service(*fetching(upstream)) as server,
        cutting(server.port) as cutter,
        driver(tmp_path, server, cutter.port) as client,
        aiohttp.ClientSession() as session,
    ):
        watch = {"url": f"{upstream.url}/etag/a?period=2", "every": "1"}
        # Somebody else watches too: the poll goes on through the cuts, however long they take.
        async with session.get(f"{server.url}/watch", params=watch):
            await client.do("watch", watch["url"], {"every": 1})
            events = await client.items(1)
            for _ in range(2):
                cutter.cut()
                events += await client.items(1)
    versions = [orjson.loads(event["body"])["version"] for event in events]
    assert [event["event"] for event in events] == ["state", "changed", "changed"]
    assert versions[0] < versions[1] < versions[2]


async def test_a_wrong_token_ends_it(tmp_path: Path) -> None:
    async with (
        service(env={"SLUICE_TOKEN": "right"}) as server,
        cutting(server.port) as cutter,
        driver(tmp_path, server, cutter.port, token="wrong") as client,
    ):
        await client.do("subscribe", "t")
        assert (await client.state("closed"))["code"] == 4401
        error = (await client.until(lambda reported: "error" in reported))["error"]
        assert (error["code"], error["message"]) == (4401, "not authorised")
        await client.do("publish", "t", 1, name="p")
        assert (await client.until(named("p")))["error"]["code"] == 4401
        assert cutter.accepted == 1


async def test_a_right_token_lets_in(tmp_path: Path) -> None:
    async with (
        service(env={"SLUICE_TOKEN": "right"}) as server,
        driver(tmp_path, server, server.port, token="right") as client,
    ):
        assert (await client.call("publish", "t", 1))["offset"] == 1
        assert await client.call("authenticate", "right") == {"expires": None}


async def test_what_is_too_large_or_wrong_is_refused_and_costs_nobody_else(tmp_path: Path) -> None:
    async with service() as server, driver(tmp_path, server, server.port) as client:
        await client.do("subscribe", "t")
        await client.until(lambda reported: "started" in reported)
        for name, args, reason in (
            ("large", ("t", "ü" * 40_000), "too_large"),
            ("name", ("_stats", 1), "forbidden"),
        ):
            await client.do("publish", *args, name=name)
            reported = await client.until(named(name))
            assert reported["error"]["reason"] == reason
        await client.do("subscribe", "batch:gone", name="gone")
        assert (await client.until(named("gone")))["error"]["reason"] == "not_found"
        await client.call("publish", "t", 1)
        assert (await client.items(1))[0]["data"] == 1


async def test_closing_ends_the_loops_and_the_process(tmp_path: Path) -> None:
    async with service() as server, driver(tmp_path, server, server.port) as client:
        await client.do("subscribe", "t")
        await client.until(lambda reported: "started" in reported)
        await client.do("close", name="c")
        await client.until(lambda reported: "end" in reported)
        assert client.process.stdin is not None
        client.process.stdin.close()
        assert await asyncio.wait_for(client.process.wait(), 60) == 0


async def test_times_and_close_codes_on_a_clock_of_its_own() -> None:
    code, out, err = await run(node(), "--test", "--test-reporter=tap", str(HERE / "sluice.test.mjs"))
    assert code == 0, out + err
    assert "# fail 0" in out


async def test_the_cases_that_the_python_client_passes_as_well() -> None:
    module, cases = ROOT / "service" / "edge" / "static" / "sluice.js", ROOT / "tests" / "vectors" / "clients"
    code, out, err = await run(node(), str(HERE / "vectors.mjs"), str(module), str(cases))
    assert code == 0, err
    *failures, count = out.splitlines()
    assert failures == []
    assert int(count.split()[0]) > 60


async def test_random_schedules() -> None:
    module = ROOT / "service" / "edge" / "static" / "sluice.js"
    code, out, err = await run(node(), str(HERE / "model.mjs"), str(module), "0", "300")
    assert code == 0, out + err
    assert out == "300 schedules\n"
