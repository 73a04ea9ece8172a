"""Who may come in, on every route and by every way."""

import asyncio
import contextlib
from typing import Any

import aiohttp
import pytest

from service.core.owner import Owner
from service.runtime.per_turn import PerTurn
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


async def test_a_socket_without_the_token_is_closed_after_the_upgrade() -> None:
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


@pytest.mark.parametrize("token", [None, "right"])
@pytest.mark.parametrize(
    "host", ["evil@127.0.0.1", "a:b@localhost:1", "localhost/x", "local host", "localhost:x", "localhost:1:2"]
)
async def test_a_host_that_is_not_a_host_is_a_bad_request(host: str, token: str | None) -> None:
    async with client_of(token=token) as client:
        for path in ("/", "/healthz", "/ws", "/topics/t"):
            status, problem, _ = await client.ask("GET", path, headers={"Host": host})
            assert status == 400, problem


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


async def test_a_page_of_another_scheme_is_a_foreign_page() -> None:
    async with client_of() as client:
        headers = {"Origin": f"https://{client.host}"}
        status, problem, _ = await client.ask("GET", "/topics/t", headers=headers)
        assert status == 403
        assert "--trust-proxy" in problem["detail"]
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await client.socket(origin=headers["Origin"])
        headers["X-Forwarded-Proto"] = "https"
        assert (await client.ask("GET", "/topics/t", headers=headers))[0] == 403, "from anyone but a proxy of ours"


@pytest.mark.parametrize(
    ("scheme", "headers", "status"),
    [
        ("https", {"X-Forwarded-Proto": "https"}, 404),
        ("http", {"X-Forwarded-Proto": "https"}, 403),
        ("https", {"Forwarded": "for=192.0.2.1;proto=https"}, 404),
        ("https", {"X-Forwarded-Proto": "https, http"}, 403),
        ("https", {"X-Forwarded-Proto": "https", "Forwarded": "proto=http"}, 403),
        ("http", {"X-Forwarded-Proto": "gopher"}, 404),
        ("http", {}, 404),
    ],
)
async def test_a_trusted_proxy_names_the_scheme(scheme: str, headers: dict[str, str], status: int) -> None:
    async with client_of(trust_proxy=("127.0.0.1/32",)) as client:
        headers = {"Origin": f"{scheme}://{client.host}", **headers}
        assert (await client.ask("GET", "/topics/t", headers=headers))[0] == status


async def test_a_default_port_may_be_left_out() -> None:
    async with client_of() as client:
        for origin, host in (("http://localhost", "localhost:80"), ("http://[::1]:80", "[::1]")):
            headers = {"Origin": origin, "Host": host}
            assert (await client.ask("GET", "/topics/t", headers=headers))[0] == 404
        headers = {"Origin": "http://localhost:0", "Host": "localhost"}
        assert (await client.ask("GET", "/topics/t", headers=headers))[0] == 403, "0 is another port than 80"


@pytest.mark.parametrize("path", ["/watch?url=http://a.example/", "/topics/t/events", "/metrics"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_what_another_page_embeds_is_refused(path: str, site: str) -> None:
    async with client_of(allow_origin=("https://app.example",)) as client:
        status, problem, _ = await client.ask("GET", path, headers={"Sec-Fetch-Site": site})
        assert status == 403
        assert problem["detail"].startswith("Sec-Fetch-Site")
        assert not client.service.watches.statistics().urls
        allowed = {"Sec-Fetch-Site": site, "Origin": "https://app.example"}
        assert (await client.ask("GET", "/topics/t", headers=allowed))[0] == 404
        for ours in ("same-origin", "none"):
            assert (await client.ask("GET", "/topics/t", headers={"Sec-Fetch-Site": ours}))[0] == 404
        assert (await client.ask("GET", "/", headers={"Sec-Fetch-Site": site}))[0] == 200, "a link to the page"


async def test_every_answer_keeps_to_its_own_pages() -> None:
    async with client_of() as client:
        for path in (
            "/",
            "/static/page.js",
            "/healthz",
            "/nowhere",
            "/topics/t",
            "/topics/t/events",
            "/metrics",
            "/ws",
        ):
            async with client.session.get(client.url(path)) as response:
                assert response.headers["X-Content-Type-Options"] == "nosniff", path
                assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin", path
        async with client.session.get(client.url("/"), headers={"Accept-Encoding": "x" * 9000}) as response:
            assert response.status == 400
            assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_one_too_many_is_refused_with_a_time_to_come_back() -> None:
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


@pytest.mark.parametrize("connections", [1, 5, 40])
async def test_one_client_has_all_requests_that_the_setting_says_and_others_find_a_place(connections: int) -> None:
    proxy = ("127.0.0.1/32",)
    async with client_of(connections=connections, trust_proxy=proxy) as client:
        one, other = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(connections):
                stream = client.session.get(client.url("/topics/t/events"), headers=one)
                assert (await stack.enter_async_context(stream)).status == 200
            status, problem, _ = await client.ask("GET", "/topics/t", headers=one)
            assert (status, problem["pool"]) == (503, "connections")
            assert (await client.ask("GET", "/topics/t", headers=other))[0] == 200
        while client.service.access.slots.used:
            await asyncio.sleep(0.01)
        assert (await client.ask("GET", "/topics/t", headers=one))[0] == 200


async def test_large_requests_and_publishes_to_many_topics_cost_more_of_a_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costs: list[int] = []

    async def wait(self: PerTurn, owner: Owner, cost: int = 1) -> None:
        costs.append(cost)

    async with client_of() as client:
        monkeypatch.setattr(PerTurn, "wait", wait)
        await client.ask(
            "POST", "/topics/t", data=b'"%b"' % (b"x" * 60_000), headers={"Content-Type": "application/json"}
        )
        await client.ask("POST", "/publish", json={"topics": [f"t{number}" for number in range(40)], "data": 1})
    assert costs == [4, 1, 1 + 5, 16, 16, 8]


async def test_requests_begin_in_turns_of_their_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []

    costs: list[int] = []

    async def wait(self: PerTurn, owner: Owner, cost: int = 1) -> None:
        begun.append(owner)
        costs.append(cost)

    async with client_of(token="right") as client:
        monkeypatch.setattr(PerTurn, "wait", wait)
        for path in ("/topics/t", "/nowhere", "/healthz", "/readyz"):
            await client.ask("GET", path, headers={"Authorization": "Bearer right"})
        await client.ask("GET", "/topics/t", headers={"Authorization": "Bearer wrong"})
    # Who shows no token where none is needed takes the turn of its address; who is not let in is answered at once.
    assert begun == ["token static", "token static", "127.0.0.1", "127.0.0.1"]
    assert costs == [1] * 4
