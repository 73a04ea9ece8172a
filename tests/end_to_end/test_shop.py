"""The shop of examples/shop with the real service: orders that are paid for or expire, and a video that is followed."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp

from service.client import Client, JobDone, JobProgress, Message, Value
from tests.end_to_end.processes import ROOT, Process, free_port, listening, service


async def post(shop: Process, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(shop.url + path, json=body or {}, headers=headers) as answer,
    ):
        return answer.status, await answer.json() if "json" in answer.content_type else await answer.text()


async def get(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.json()


async def news(values: Any) -> Any:
    """Return what the shop says next of an order."""
    value: Value = await asyncio.wait_for(anext(values), 30)
    assert isinstance(value, Message)
    return value.data


async def test_orders_expire_unless_they_are_paid_for_and_a_video_is_seen_live(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{free_port()}"
    secret = tmp_path / "secret"
    shop_py = str(ROOT / "examples" / "shop" / "shop.py")
    options = ("--port", str(port), "--sluice", url, "--secret", str(secret), "--patience", "1", "--seconds", "1")
    async with (
        listening(sys.executable, shop_py, *options, env={"PYTHONPATH": str(ROOT)}) as shop,
        service(
            "--port", url.rpartition(":")[2], "--jobs", "examples.shop.functions", "--webhook-secret-file", str(secret),
            "--allow-net", "127.0.0.0/8", "--allow-port", str(port), "--allow-origin", shop.url,
        ) as sluice,
        Client(sluice.url) as client,
    ):  # fmt: skip
        assert secret.stat().st_mode & 0o077 == 0
        await expires(shop, client)
        await is_paid_for(shop, sluice, client)
        await is_seen(shop, client)
        async with aiohttp.ClientSession(headers={"Origin": shop.url}) as session:
            async with session.get(shop.url) as page:
                assert f'import {{ Sluice }} from "{sluice.url}/static/sluice.js"' in await page.text()
            async with session.get(f"{sluice.url}/static/sluice.js") as module:
                assert module.headers["Access-Control-Allow-Origin"] == shop.url


async def expires(shop: Process, client: Client) -> None:
    _, order = await post(shop, "/orders", {"item": "a poster"})
    assert (order["state"], "job" in order) == ("open", False)
    values = aiter(client.subscribe(order["topic"], since="oldest"))
    forged = {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,AAAA"}
    assert (await post(shop, f"/orders/{order['order']}/expire", **forged))[0] == 403
    assert (await news(values))["state"] == "expired"
    status, late = await post(shop, f"/orders/{order['order']}/pay")
    assert (status, late["state"]) == (409, "expired")


async def is_paid_for(shop: Process, sluice: Process, client: Client) -> None:
    status = 409
    while status == 409:  # the second was over before
        _, order = await post(shop, "/orders", {"item": "another one"})
        status, paid = await post(shop, f"/orders/{order['order']}/pay")
    assert (status, paid["state"]) == (200, "paid")
    assert (await news(aiter(client.subscribe(order["topic"], since="oldest"))))["state"] == "paid"
    _, cancelled = await get(f"{sluice.url}/jobs?state=cancelled")
    assert [job["key"] for job in cancelled["jobs"]] == [f"expire-{order['order']}"]


async def is_seen(shop: Process, client: Client) -> None:
    _, made = await post(shop, "/videos", {"video": "holiday.mkv"})
    seen = []
    async for event in client.follow_job(made["job"]):
        if isinstance(event, JobProgress):
            seen.append(event.done)
        last = event
    assert seen == list(range(1, 101))
    assert isinstance(last, JobDone)
    assert last.result == {"video": "holiday.webm"}
