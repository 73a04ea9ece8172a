"""sluice.js in a page of real Chromium that is hidden, frozen, kept for its user's way back, and offline."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.end_to_end.chromium import Page, chromium
from tests.end_to_end.cutting import Cutter, cutting
from tests.end_to_end.processes import Process, service

READ = """(async () => {
  const { Sluice } = await import("/static/sluice.js");
  Object.assign(window, { items: [], happened: [] });
  window.client = new Sluice(location.href, { onState: ({ state }) => happened.push(state) });
  for (const name of ["pageshow", "online"])
    addEventListener(name, ({ persisted }) => happened.push(persisted ? "kept" : name));
  (async () => { for await (const item of client.subscribe("t", { since: "oldest" })) items.push(item); })();
})()"""


class Reading:
    """A page that reads a topic; its own WebSocket is beside."""

    def __init__(self, page: Page, server: Process, cutter: Cutter, session: aiohttp.ClientSession) -> None:
        self.page = page
        self.cutter = cutter
        self._server = server
        self._session = session
        self._published = 0

    async def publish(self, count: int) -> None:
        for _ in range(count):
            self._published += 1
            async with self._session.post("/topics/t", json=self._published) as answer:
                assert (await answer.json())["offset"] == self._published

    async def check(self) -> int:
        """Wait for the last message: each came once, or in a gap that was reported; return how many are in gaps."""
        items = await self.page.until(f"items.at(-1)?.offset === {self._published} && items")
        had = missing = 0
        for item in items:
            gap = item.get("gap", {"from": had + 1, "to": had})
            assert gap["from"] == had + 1
            had = item.get("offset", gap["to"])
            assert had == gap["to"] + ("offset" in item)
            missing += gap["to"] - gap["from"] + 1
        return missing

    async def network(self, *, there: bool) -> None:
        await self.page.send(
            "Network.emulateNetworkConditions",
            offline=not there, latency=0, downloadThroughput=-1, uploadThroughput=-1,
        )  # fmt: skip


@asynccontextmanager
async def reading() -> AsyncIterator[Reading]:
    async with (
        service("--ring-messages", "50") as server,
        cutting(server.port) as cutter,
        chromium(f"http://127.0.0.1:{cutter.port}") as page,
        aiohttp.ClientSession(server.url) as session,
    ):
        for domain in ("Page", "Network"):
            await page.send(f"{domain}.enable")
        await page.evaluate(READ)
        await page.until("happened.includes('open')")
        yield Reading(page, server, cutter, session)


async def test_hidden_and_frozen() -> None:
    async with reading() as it:
        await it.page.send("Target.createTarget", url="about:blank")
        await it.page.until("document.visibilityState === 'hidden'")
        await it.publish(3)
        assert await it.check() == 0
        await it.page.send("Page.bringToFront")

        await it.page.send("Page.setWebLifecycleState", state="frozen")
        await it.publish(30)
        await it.page.send("Page.setWebLifecycleState", state="active")
        assert await it.check() == 0

        await it.page.send("Page.setWebLifecycleState", state="frozen")
        await it.publish(110)
        await it.page.send("Page.setWebLifecycleState", state="active")
        assert 1 <= await it.check() <= 60, "the topic keeps 50"


async def test_offline() -> None:
    async with reading() as it:
        await it.publish(1)
        await it.check()
        await it.page.evaluate("Object.assign(client.backoff, { first: 3600, most: 3600 })")
        await it.network(there=False)
        it.cutter.cut()
        await it.page.until("happened.at(-1) === 'waiting'")
        await it.publish(10)
        await it.network(there=True)
        assert await it.check() == 0
        assert await it.page.evaluate("happened") == [
            "connecting", "open", "waiting", "connecting", "online", "open",
        ]  # fmt: skip


async def test_back_from_another_page() -> None:
    async with reading() as it:
        await it.publish(1)
        await it.check()
        here = await it.page.evaluate("location.href")
        await it.page.send("Page.navigate", url=f"{here}healthz")
        await it.page.until("location.pathname === '/healthz' && document.readyState === 'complete'")
        await it.publish(10)
        history = await it.page.send("Page.getNavigationHistory")
        before = history["entries"][history["currentIndex"] - 1]
        await it.page.send("Page.navigateToHistoryEntry", entryId=before["id"])
        await it.page.until(f"location.href === {here!r} && document.readyState === 'complete'")
        if not await it.page.evaluate("Boolean(window.items)"):
            pytest.skip("this Chromium keeps no page that has a WebSocket")
        assert await it.check() == 0
        assert "kept" in await it.page.evaluate("happened")
