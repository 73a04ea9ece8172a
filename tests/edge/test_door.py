"""Who may come in, on every route and by every way."""

from typing import Any

import aiohttp
import pytest

from tests.edge.running import call, client_of

ROUTES = [
    ("POST", "/fetch-batch"),
    ("GET", "/batches/x"),
    ("DELETE", "/batches/x"),
    ("GET", "/batches/x/events"),
    ("POST", "/topics/t"),
    ("GET", "/topics/t"),
    ("GET", "/topics/t/events"),
    ("POST", "/publish"),
    ("GET", "/nowhere"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic cmlnaHQ="},
        {"Upgrade": "websocket", "Connection": "Upgrade"},
        {"Sec-WebSocket-Protocol": "sluice.v1, bearer.right"},
    ],
)
async def test_no_route_opens_without_the_token(method: str, path: str, headers: dict[str, str]) -> None:
    async with client_of(token="right") as client:
        status, problem, response = await client.ask(method, path, headers=headers)
    assert status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.content_type == "application/problem+json"
    assert problem["reason"] == "unauthorized"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/static/page.js"])
async def test_health_and_the_page_are_open(path: str) -> None:
    async with client_of(token="right") as client:
        assert (await client.ask("GET", path))[0] == 200


async def test_the_token_opens_every_route() -> None:
    async with client_of(token="right") as client:
        status, _, _ = await client.ask("GET", "/topics/t", headers={"Authorization": "bearer right"})
        assert status == 404


async def test_a_socket_without_the_token_is_told_so_after_the_upgrade() -> None:
    async with client_of(token="right") as client, client.socket() as socket:
        message = await socket.receive()
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert socket.close_code == 4401


@pytest.mark.parametrize("how", [{"headers": {"Authorization": "Bearer right"}}, {"bearer": True}])
async def test_a_socket_shows_its_token_in_a_header_or_beside_the_subprotocol(how: dict[str, Any]) -> None:
    protocols = ("sluice.v1", "bearer.right") if how.pop("bearer", False) else ("sluice.v1",)
    async with (
        client_of(token="right") as client,
        client.session.ws_connect(client.url("/ws"), protocols=protocols, **how) as socket,
    ):
        assert socket.protocol == "sluice.v1"
        assert await call(socket, "ping") == {}
        assert (await call(socket, "authenticate", token="wrong"))["code"] == -32003
        assert await call(socket, "authenticate", token="right") == {"expires": None}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[", ""])
async def test_a_name_that_is_not_ours_is_refused(host: str) -> None:
    async with client_of() as client:
        for path in ("/", "/ws", "/topics/t"):
            status, problem, _ = await client.ask("GET", path, headers={"Host": host})
            assert status in (400, 403), problem


async def test_names_of_ours_are_let_in() -> None:
    async with client_of(allow_host=("live.example",)) as client:
        for host in ("localhost", "127.0.0.1:1", "[::1]", "LIVE.example:8080"):
            assert (await client.ask("GET", "/healthz", headers={"Host": host}))[0] == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1", "file://"])
async def test_a_foreign_page_is_refused_before_the_upgrade(origin: str) -> None:
    async with client_of() as client:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.socket(origin=origin)
        assert refused.value.status == 403
        status, _, response = await client.ask("GET", "/topics/t", headers={"Origin": origin})
        assert status == 403
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_our_own_page_and_those_we_allow_are_let_in() -> None:
    async with client_of(allow_origin=("https://app.example",)) as client:
        for origin in (f"http://{client.host}", "https://app.example"):
            async with client.socket(origin=origin) as socket:
                assert await call(socket, "ping") == {}
        _, _, response = await client.ask("GET", "/topics/t", headers={"Origin": "https://app.example"})
        assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
        status, _, response = await client.ask(
            "OPTIONS", "/fetch-batch",
            headers={"Origin": "https://app.example", "Access-Control-Request-Method": "POST"},
        )  # fmt: skip
        assert status == 204
        assert "POST" in response.headers["Access-Control-Allow-Methods"]


async def test_one_too_many_is_told_when_to_come_back() -> None:
    async with client_of(connections=1, websockets=1) as client:
        stream = await client.session.get(client.url("/topics/t/events"))
        status, problem, response = await client.ask("GET", "/topics/t")
        assert (status, problem["reason"]) == (503, "overloaded")
        assert int(response.headers["Retry-After"]) >= 1
        async with client.socket():
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.socket()
            assert refused.value.status == 503
        stream.close()
        while (await client.ask("GET", "/topics/t"))[0] == 503:
            pass


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("PUT", "/fetch-batch", 405), ("GET", "/ws", 426), ("GET", "/static/../x", 404)],
)
async def test_aiohttps_own_errors_are_problem_documents_too(method: str, path: str, status: int) -> None:
    async with client_of() as client:
        got, problem, response = await client.ask(method, path)
    assert got == status == problem["status"]
    assert response.content_type == "application/problem+json"
    if status == 405:
        assert "POST" in response.headers["Allow"]
