"""Servers to which messages are POSTed: what they answer is believed, and credentials stay with them."""

from argparse import Namespace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from loadtest.endpoint import Endpoint, endpoint_of
from loadtest.sockets import ConnectFailed, Socket
from loadtest.targets import TARGETS


def endpoint(url: str) -> Endpoint:
    return endpoint_of(Namespace(
        url=url, header=["X-Api-Key: s3cret"], token="", ca="", cert="", key="", insecure=False, sni="", compress=False,
    ))  # fmt: skip


@pytest.mark.parametrize("status", [301, 302, 307, 308, 404, 503])
async def test_only_success_is_published_and_nobody_else_is_asked(status: int) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    server = TestServer(app)
    await server.start_server()
    target = TARGETS["sse"](endpoint(str(server.make_url(""))))
    target.options = Namespace(publish_path="/publish")
    try:
        with pytest.raises(ConnectFailed, match=f"publish: {status}"):
            await target.publish(object.__new__(Socket), "t", b"{}")
    finally:
        await target.close()
        await server.close()
    assert asked == ["/publish"]
