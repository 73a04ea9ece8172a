"""The JavaScript client in real Chromium: pages that are frozen and cut off, and pages that close it."""

import aiohttp

from tests.end_to_end.chromium import Page, chromium
from tests.end_to_end.cutting import Cutter, cutting
from tests.end_to_end.processes import Process, service

CLIENT = """
import('/static/sluice.js').then(({ Sluice }) => {
  window.offsets = [];
  window.states = [];
  window.client = new Sluice(%r, { onState: ({ state }) => states.push(state) });
  (async () => { for await (const item of client.subscribe('t', { since: 'oldest' })) offsets.push(item.offset ?? 'reported'); })();
})
"""


async def publish(server: Process, count: int) -> None:
    async with aiohttp.ClientSession() as session:
        for number in range(count):
            async with session.post(f"{server.url}/topics/t", json=number) as answer:
                assert answer.status == 200


async def had(page: Page, count: int) -> None:
    """Wait until every offset has come once and in order."""
    await page.until(f"offsets.length >= {count}")
    assert await page.evaluate("offsets") == list(range(1, count + 1))


async def begin(page: Page, cutter: Cutter) -> None:
    await page.evaluate(CLIENT % f"http://127.0.0.1:{cutter.port}")
    await page.until("states.at(-1) === 'open'")


async def test_a_page_that_was_frozen_goes_on_where_it_was() -> None:
    async with (
        service() as server,
        cutting(server.port) as cutter,
        chromium(f"http://127.0.0.1:{cutter.port}") as page,
    ):
        await begin(page, cutter)
        await publish(server, 2)
        await had(page, 2)
        await page.send("Page.setWebLifecycleState", state="frozen")
        cutter.cut()
        await publish(server, 3)
        await page.send("Page.setWebLifecycleState", state="active")
        await had(page, 5)


async def test_closing_lets_the_page_go() -> None:
    async with (
        service() as server,
        cutting(server.port) as cutter,
        chromium(f"http://127.0.0.1:{cutter.port}") as page,
    ):
        await begin(page, cutter)
        await page.evaluate("client.close()")
        assert await page.evaluate("states.at(-1)") == "closed"
        assert await page.evaluate("client.publish('t', 1).catch(({ reason }) => reason)") == "closed"
