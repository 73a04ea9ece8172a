"""A small shop: orders that expire when nobody pays, and videos whose transcoding is seen live. See docs/jobs.md.

PYTHONPATH=. .venv/bin/python examples/shop/shop.py
"""

import argparse
import asyncio
import hmac
import secrets
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from aiohttp import web

from service.client import Client

HERE = Path(__file__).parent
OLD = 300.0
"""Seconds after which a signature is not believed: what was overheard is not worth anything for long."""


@dataclass
class Order:
    """An order; a real shop has them in its database, with the id of the job."""

    id: str
    item: str
    due: str | None
    job: str
    state: str = "open"

    def shown(self) -> dict[str, object]:
        """Return what its buyer may know: not the job, with whose id it could be cancelled."""
        return {"order": self.id, "item": self.item, "state": self.state, "due": self.due, "topic": self.topic}

    @property
    def topic(self) -> str:
        """Where its page hears of it; only its buyer knows the name."""
        return f"order:{self.id}"


class Shop:
    """The shop's own service. The state of an order is the shop's: sluice keeps the time."""

    def __init__(self, sluice: Client, url: str, secret: bytes, patience: float, seconds: float) -> None:
        self.sluice = sluice
        self.url = url
        self.secret = secret
        self.patience = patience
        self.seconds = seconds
        self.orders: dict[str, Order] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.post("/orders", self.order),
            web.post("/orders/{id}/pay", self.pay),
            web.post("/orders/{id}/expire", self.expire),
            web.post("/videos", self.upload),
        ]

    async def order(self, request: web.Request) -> web.Response:
        """Take an order, and have it expire if it is not paid for in time."""
        item = (await request.json())["item"]
        name = secrets.token_urlsafe(12)
        expire = {"url": f"{self.url}/orders/{name}/expire"}
        job = await self.sluice.job(call=expire, delay=self.patience, key=f"expire-{name}")
        order = self.orders[name] = Order(name, item, job.due, job.id)
        return web.json_response(order.shown(), status=201)

    async def pay(self, request: web.Request) -> web.Response:
        """Take the money, unless it comes too late, and call the job off."""
        order = self.find(request)
        if order.state == "expired":
            return web.json_response(order.shown(), status=409)
        order.state = "paid"
        await self.sluice.follow_job(order.job).cancel()
        await self.sluice.publish(order.topic, order.shown())
        return web.json_response(order.shown())

    async def expire(self, request: web.Request) -> web.Response:
        """Expire an order that nobody has paid for; sluice calls this, at least once."""
        if not verified(self.secret, request.headers, await request.text()):
            raise web.HTTPForbidden(text="the signature is not right")
        order = self.find(request)
        if order.state == "open":
            order.state = "expired"
        await self.sluice.publish(order.topic, order.shown(), key=request.headers["webhook-id"])
        return web.json_response(order.shown())

    async def upload(self, request: web.Request) -> web.Response:
        """Have a video transcoded without making the request wait; the page follows the job."""
        video = (await request.json())["video"]
        job = await self.sluice.job(run={"name": "transcode", "args": {"video": video, "seconds": self.seconds}})
        return web.json_response({"job": job.id}, status=202)

    def find(self, request: web.Request) -> Order:
        """Return the order that a request is about."""
        order = self.orders.get(request.match_info["id"])
        if order is None:
            raise web.HTTPNotFound(text="the order does not exist")
        return order


def verified(secret: bytes, headers: Mapping[str, str], body: str) -> bool:
    """Whether somebody who knows the secret has sent this lately (https://www.standardwebhooks.com)."""
    name, sent, given = (headers.get(f"webhook-{field}", "") for field in ("id", "timestamp", "signature"))
    if not (sent.isascii() and sent.isdigit() and abs(time.time() - int(sent)) < OLD):
        return False
    digest = hmac.digest(secret, f"{name}.{sent}.{body}".encode(), sha256)
    right = b"v1," + b64encode(digest)
    return any(hmac.compare_digest(right, one.encode()) for one in given.split())


def read_secret(path: Path) -> bytes:
    """Return the secret that the shop and sluice share; it is made at the first start."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(f"whsec_{b64encode(secrets.token_bytes(32)).decode()}\n")
    return b64decode(path.read_text().strip().removeprefix("whsec_"))


async def main(options: argparse.Namespace) -> None:
    """Serve until it is interrupted."""
    url = f"http://127.0.0.1:{options.port}"
    page = (HERE / "index.html").read_text().replace("SLUICE_URL", options.sluice)
    async with Client(options.sluice) as sluice:
        shop = Shop(sluice, url, read_secret(options.secret), options.patience, options.seconds)
        app = web.Application()
        app.add_routes(shop.routes())
        app.router.add_get("/", lambda _: asyncio.sleep(0, web.Response(text=page, content_type="text/html")))
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", options.port).start()
            print(f"listening on {url}", flush=True)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--sluice", default="http://127.0.0.1:8080", help="where sluice is")
    parser.add_argument("--secret", type=Path, default=HERE / "secret", help="the file of --webhook-secret-file")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds in which an order is paid for")
    parser.add_argument("--seconds", type=float, default=10.0, help="that a video takes")
    with suppress(KeyboardInterrupt):
        asyncio.run(main(parser.parse_args()))
