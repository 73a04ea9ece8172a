"""EventSource in real Chromium: through cuts, gaps, drains and restarts, without a line of the page's to help."""

import re
from typing import Any

import aiohttp

from tests.end_to_end.chromium import Page, chromium
from tests.end_to_end.cutting import Cutter, serving
from tests.end_to_end.processes import origin, service

READ = """
window.received = [];
window.lost = [];
window.reader = new EventSource(%r);
const note = ({type, lastEventId, data}) => received.push({type, id: lastEventId, data: JSON.parse(data)});
for (const type of ["start", "message", "gap"]) reader.addEventListener(type, note);
reader.onerror = () => lost.push({state: reader.readyState, at: performance.now()});
reader.onopen = () => lost.length && (lost.at(-1).back = performance.now());
"""


class Hints(Cutter):
    """Keeps the times after which the service asks an EventSource to come back."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.hints: list[int] = []

    def passes(self, data: bytes) -> None:
        self.hints += [int(hint) for hint in re.findall(rb"retry: (\d+)\n", data)]


async def publish(url: str, *values: Any) -> None:
    async with aiohttp.ClientSession() as session:
        for value in values:
            async with session.post(f"{url}/topics/t", json=value) as answer:
                assert answer.status == 200


async def take(page: Page, count: int) -> list[dict[str, Any]]:
    """Wait until the reader has so many events, and take them."""
    reported: list[dict[str, Any]] = await page.until(f"received.length >= {count} && received.splice(0)")
    return reported


def data_of(reported: list[dict[str, Any]]) -> list[Any]:
    return [event["data"] for event in reported]


async def test_it_comes_back_by_itself_from_a_cut_a_gap_and_a_restart() -> None:
    async with service("--ring-messages", "5") as first, serving(Hints(first.port)) as cutter:
        await publish(first.url, 1, 2)
        async with chromium(f"http://127.0.0.1:{cutter.port}") as page:
            await page.evaluate(READ % "/topics/t/events?since=oldest")
            start, *messages = await take(page, 3)
            epoch = start["data"]["epoch"]
            assert start["data"] == {"epoch": epoch, "offset": 0, "recovered": False}
            assert [(event["id"], event["data"]) for event in messages] == [(f"{epoch}:1", 1), (f"{epoch}:2", 2)]

            cutter.cut()
            await publish(first.url, 3, 4)
            start, *messages = await take(page, 3)
            assert start["data"] == {"epoch": epoch, "offset": 2, "recovered": True}
            assert data_of(messages) == [3, 4]
            away = await page.evaluate("lost[0].back - lost[0].at")
            assert cutter.hints[0] <= away + 1, "it waits as long as it was asked to"
            assert away < cutter.hints[0] + 10_000, "and not for ever"

            cutter.down = True
            cutter.cut()
            await publish(first.url, *range(5, 21))
            cutter.down = False
            start, gap, *messages = await take(page, 7)
            assert start["data"]["recovered"] is False
            assert (gap["type"], gap["data"]) == ("gap", {"from": 5, "to": 15})
            assert data_of(messages) == [16, 17, 18, 19, 20]

            await first.stop()
            async with service("--port", str(first.port)) as second:
                await publish(second.url, "new")
                start, message = await take(page, 2)
                assert start["data"]["recovered"] is False
                assert start["data"]["epoch"] != epoch
                assert (message["id"], message["data"]) == (f"{start['data']['epoch']}:1", "new")
                # So does the WebSocket of the page itself.
                await page.until("document.getElementById('state').textContent === 'connected'")
            assert await page.evaluate("lost.every(({state}) => state === EventSource.CONNECTING)")


async def test_a_batch_ends_it() -> None:
    """What comes back after the last event gets 204, which is how an EventSource is stopped."""
    async with (
        origin() as upstream,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
        chromium(server.url) as page,
        aiohttp.ClientSession(server.url) as session,
    ):
        urls = [f"{upstream.url}/bytes/5", f"{upstream.url}/slow/300"]
        async with session.post("/fetch-batch", json={"urls": urls}, headers={"Prefer": "respond-async"}) as answer:
            place = answer.headers["Location"]
        await page.evaluate(READ % f"{place}/events")
        await page.until("reader.readyState === EventSource.CLOSED")
        reported = await take(page, 3)
        assert [event["data"]["event"] for event in reported] == ["result", "result", "done"]
        assert [event["id"].rpartition(":")[2] for event in reported] == ["1", "2", "3"]
        assert await page.evaluate("lost.map(({state}) => state)") == [0, 2], "the end, and 204"
