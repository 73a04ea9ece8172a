"""The EventSources of npm: each comes back to where it was after a cut, and begins anew after a restart."""

import json
import signal
from pathlib import Path
from typing import Any

import aiohttp

from tests.end_to_end.cutting import cutting
from tests.end_to_end.npm import node, packages
from tests.end_to_end.processes import Process, service, start

SCRIPT = Path(__file__).parent / "event_sources.mjs"
KINDS = ("event-source-polyfill", "eventsource-1", "eventsource-2", "eventsource-3", "eventsource", "Node")


class Readers:
    """What each reader of the Node process was given."""

    def __init__(self, process: Process, urls: list[str]) -> None:
        self.had: dict[tuple[str, str], list[dict[str, Any]]] = {(name, url): [] for name in KINDS for url in urls}
        self._process = process

    async def until_all(self, data: Any) -> None:
        """Wait until every reader has a message, which is the last one for now."""
        while not all(had and had[-1]["data"] == data for had in self.had.values()):
            reported = json.loads(await self._process.line())
            assert reported["type"] != "gave up", reported
            self.had[reported["name"], reported["url"]].append(reported)


async def publish(server: Process, *values: Any) -> None:
    async with aiohttp.ClientSession(server.url) as session:
        for value in values:
            async with session.post("/topics/t", json=value) as answer:
                assert answer.status == 200


async def test_nothing_is_lost_or_repeated_over_a_cut_and_a_restart() -> None:
    binary, folder = node(24), str(packages())
    async with service("--drain", "2") as first, cutting(first.port) as cutter:
        await publish(first, 1, 2)
        urls = [f"http://127.0.0.1:{port}/topics/t/events?since=oldest" for port in (first.port, cutter.port)]
        process = await start(binary, "--experimental-eventsource", "--no-warnings", str(SCRIPT), folder, *urls)
        try:
            readers = Readers(process, urls)
            await readers.until_all(2)
            cutter.cut()
            await publish(first, 3, 4)
            await readers.until_all(4)
            first.process.send_signal(signal.SIGTERM)
            await first.ended()
            async with service("--port", str(first.port)) as second:
                await publish(second, "new")
                await readers.until_all("new")
        finally:
            await process.stop()
    for (name, url), had in readers.had.items():
        starts = [event["data"] for event in had if event["type"] == "start"]
        messages = [event for event in had if event["type"] != "start"]
        assert [event["data"] for event in messages] == [1, 2, 3, 4, "new"], (name, url)
        assert [event["id"].rpartition(":")[2] for event in messages] == ["1", "2", "3", "4", "1"], (name, url)
        places = [(0, False), (2, True), (0, False)] if url == urls[1] else [(0, False), (0, False)]
        assert [(start["offset"], start["recovered"]) for start in starts] == places, (name, url)
