"""Signed tokens on the whole service: what each route asks for, by what name it is refused, and when it ends."""

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from service.edge.access.tokens import secrets, sign
from service.edge.websocket.frames import ClientSocket
from tests.edge.running import Client, call, client_of

SECRET = "0123456789abcdef0123456789abcdef"
KEY = secrets(SECRET)[0]
SERVICE = Path(__file__).parent.parent.parent / "service"


def bearer(**claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(**claims)}"}


def token(lives: float = 100, **claims: Any) -> str:
    return sign({"exp": int(time.time() + lives), **claims}, KEY)


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("POST", "/topics/mine", {"json": 1}, "claim publish: it does not cover the topic 'mine'"),
    ("POST", "/publish", {"json": {"topics": ["news.eu", "mine"], "data": 1}}, "claim publish: .* 'mine'"),
    ("GET", "/topics/mine", {}, "claim subscribe: it does not cover the topic 'mine'"),
    ("GET", "/topics/mine/events", {}, "claim subscribe"),
    ("GET", "/topics/_stats/events", {}, "claim subscribe"),
    ("GET", "/topics/watch:0123", {}, "claim watch"),
    ("GET", "/topics/watch:0123/events", {}, "claim watch"),
    ("GET", "/metrics", {}, "claim subscribe: .* '_stats'"),
    ("POST", "/fetch-batch", {"json": {"urls": ["http://a.example/"]}}, "claim fetch: the token does not have it"),
    ("GET", "/watch?url=http://a.example/&every=5", {}, "claim watch: the token does not have it"),
    ("POST", '/steps?steps=[{"step":"digest"}]', {"data": b"abc"}, "claim fetch: the token does not have it"),
    ("GET", "/blobs/" + "0" * 64, {}, "claim fetch: the token does not have it"),
    (
        "POST",
        "/jobs",
        {"json": {"publish": {"topic": "news.eu", "data": 1}}},
        "claim jobs: the token does not have it",
    ),
    ("GET", "/jobs", {}, "claim jobs: the token does not have it"),
]
"""What a token is refused that may read and write ``news.*`` alone."""

ANY_TOKEN = {
    ("GET", "/batches/{id}"), ("DELETE", "/batches/{id}"), ("GET", "/batches/{id}/events"), ("GET", "/steps"),
    ("GET", "/pipelines"),
    ("GET", "/jobs/{id}"), ("DELETE", "/jobs/{id}"), ("PATCH", "/jobs/{id}"), ("GET", "/jobs/{id}/events"),
}  # fmt: skip
"""The id of a batch or job is a secret of its own; which steps there are is public."""
OPEN = {("GET", path) for path in ("/", "/healthz", "/readyz", "/openapi.json", "/asyncapi.json")}
SOCKETS = {("GET", "/ws"), ("GET", "/echo"), ("POST", "/"), ("GET", "/pipelines/{name:[^/]+}")}
"""And what `--echo-route` has beside its socket."""

WORKERS = {("POST", f"/jobs/{{id}}/attempts/{{attempt}}/{act}") for act in ("claim", "events")}
"""The token of an attempt opens these, and nothing else: see test_job_attempts."""


@pytest.mark.parametrize(("method", "path", "more", "named"), REFUSED, ids=lambda value: str(value)[:40])
async def test_what_no_claim_covers_is_403_and_the_claim_is_named(
    method: str, path: str, more: dict[str, Any], named: str
) -> None:
    async with client_of(jwt_secret=SECRET) as client:
        headers = bearer(subscribe=["news.*"], publish=["news.*"])
        status, problem, response = await client.ask(method, path, headers=headers, **more)
        assert (status, problem["reason"]) == (403, "forbidden")
        assert re.search(named, problem["detail"])
        assert response.content_type == "application/problem+json"
        assert not {"mine", "news.eu"} & set(client.service.hub.topics)


def test_every_route_is_known_to_need_a_claim_or_none() -> None:
    """A new route has to be put into one of these tables."""
    added = {
        (method.upper(), path)
        for file in SERVICE.rglob("*.py")
        for method, path in re.findall(r'add_(get|post|patch|delete)\("([^"]+)"', file.read_text())
    }
    for method, path in added - ANY_TOKEN - OPEN - SOCKETS - WORKERS:
        form = re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(path))
        assert any(
            method == tested and re.fullmatch(form, where.partition("?")[0]) for tested, where, _, _ in REFUSED
        ), f"{method} {path}"


async def test_what_the_claims_cover_is_done() -> None:
    async with client_of(jwt_secret=SECRET) as client:
        headers = bearer(subscribe=["news.*", "_stats"], publish=["news.*"], fetch=["127.0.0.1"])
        for method, path, more in (
            ("POST", "/topics/news.eu", {"json": 1}),
            ("POST", "/publish", {"json": {"topics": ["news.eu", "news.us"], "data": 1}}),
            ("GET", "/topics/news.eu", {}),
            ("GET", "/metrics", {}),
            ("POST", "/fetch-batch", {"json": {"urls": [client.origin + "/bytes/5"]}}),
        ):
            status, answer, _ = await client.ask(method, path, headers=headers, **more)
            assert status == 200, answer


async def test_every_claim_missing_and_every_claim_there() -> None:
    everything = {"subscribe": ["*"], "publish": ["*"], "fetch": True, "watch": True}
    async with client_of(jwt_secret=SECRET, token="static") as client:
        for headers in (bearer(**everything), {"Authorization": "Bearer static"}):
            for method, path in (("GET", "/topics/_stats"), ("GET", "/metrics")):
                assert (await client.ask(method, path, headers=headers))[0] == 200
        for method, path, more, _ in REFUSED:
            assert (await client.ask(method, path, headers=bearer(), **more))[0] == 403


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({}, "bearer token is needed"),
        ({"Authorization": "Bearer x.y.z"}, "not valid"),
        ({"Authorization": "Bearer " + sign({"exp": 1}, KEY)}, "expired"),
        ({"Authorization": "Bearer " + sign({"exp": 2**40, "fetch": 5}, KEY)}, "claim fetch"),
    ],
)
async def test_a_wrong_token_is_401_and_says_no_more_than_its_owner_may_know(
    headers: dict[str, str], named: str
) -> None:
    async with client_of(jwt_secret=SECRET) as client:
        status, problem, response = await client.ask("GET", "/topics/t", headers=headers)
        assert (status, problem["reason"]) == (401, "unauthorized")
        assert named in problem["detail"]
        assert response.headers["WWW-Authenticate"] == "Bearer"
        async with client.socket(headers=headers) as socket:
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 4401


async def test_urls_at_other_hosts_fail_one_by_one() -> None:
    async with client_of(jwt_secret=SECRET) as client:
        urls = [client.origin + "/bytes/5", client.origin.replace("127.0.0.1", "127.0.0.2") + "/bytes/5"]
        status, body, _ = await client.batch({"urls": urls}, **bearer(fetch=["127.0.0.1"]))
    one, two = orjson.loads(body)["results"]
    assert (status, one["event"], two["event"]) == (200, "result", "failed")
    assert two["error"] == "blocked"
    assert "claim fetch: it does not cover the host '127.0.0.2'" in two["detail"]


async def test_the_cache_entry_of_another_client_does_not_bypass_the_claim() -> None:
    async with client_of(jwt_secret=SECRET) as client:
        url = client.origin + "/etag/x?period=0"
        for expected in ("miss", "revalidated"):
            _, body, _ = await client.batch({"urls": [url]}, **bearer(fetch=True))
            assert orjson.loads(body)["results"][0]["cache"] == expected
        for cache in ("default", "only-if-cached", "reload"):
            request = {"urls": [url], "options": {"cache": cache}}
            _, body, _ = await client.batch(request, **bearer(fetch=["127.0.0.2"]))
            assert orjson.loads(body)["results"][0]["error"] == "blocked", cache


async def test_a_key_of_a_batch_belongs_to_the_subject_and_what_it_may_fetch() -> None:
    async with client_of(jwt_secret=SECRET) as client:
        body = {"urls": [client.origin + "/bytes/5"]}

        async def batch(**claims: Any) -> str:
            _, _, response = await client.batch(body, **bearer(**claims), **{"Idempotency-Key": "k"})
            return response.headers["Sluice-Batch"]

        first = await batch(sub="ann", fetch=True)
        assert await batch(sub="ann", fetch=True, lives=200) == first
        others = [await batch(sub="bob", fetch=True), await batch(fetch=True), await batch(fetch=True, lives=200)]
        others.append(await batch(sub="ann", fetch=["127.0.0.1"]))
        assert len({first, *others}) == 5


async def test_a_socket_has_the_claims_of_its_token_by_either_way() -> None:
    async with client_of(jwt_secret=SECRET) as client:
        given = token(sub="ann", subscribe=["news.*"])
        for more in (
            {"headers": {"Authorization": f"Bearer {given}"}},
            {"protocols": ("sluice.v1", f"bearer.{given}")},
        ):
            async with client.session.ws_connect(client.url("/ws"), **more) as socket:
                assert (await call(socket, "subscribe", topic="news.eu"))["topic"] == "news.eu"
                assert (await call(socket, "subscribe", topic="mine"))["code"] == -32002


async def closed_after(socket: aiohttp.ClientWebSocketResponse) -> tuple[float, int | None, str | None]:
    """Return when the socket was closed, the code and the reason."""
    while (message := await socket.receive()).type is not aiohttp.WSMsgType.CLOSE:
        assert message.type is aiohttp.WSMsgType.TEXT, message
    return asyncio.get_running_loop().time(), message.data, message.extra


async def test_a_socket_ends_with_its_token() -> None:
    async with client_of(jwt_secret=SECRET, jwt_leeway=5) as client:
        async with client.socket(headers=bearer(lives=60)) as socket:
            began = asyncio.get_running_loop().time()
            ended, code, reason = await closed_after(socket)
        assert (code, reason) == (4401, "token expired")
        assert 63 <= ended - began <= 68
        assert client.service.sockets.count == 0


async def test_a_clock_that_is_set_during_the_upgrade_ends_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client_of(jwt_secret=SECRET, jwt_leeway=0, heartbeat=1000) as client:
        prepare = ClientSocket.prepare

        async def set_clock(socket: ClientSocket, request: web.BaseRequest) -> Any:
            monkeypatch.setattr(client.service.sockets._expiries, "_clock", lambda: time.time() + 3600)
            return await prepare(socket, request)

        monkeypatch.setattr(ClientSocket, "prepare", set_clock)
        async with client.socket(headers=bearer(lives=60)) as socket:
            began = asyncio.get_running_loop().time()
            ended, code, _ = await closed_after(socket)
        assert code == 4401
        assert 55 <= ended - began <= 65


async def test_authenticate_renews_a_socket() -> None:
    async with client_of(jwt_secret=SECRET, jwt_leeway=0, heartbeat=1000) as client:
        async with client.socket(headers=bearer(lives=60, subscribe=["a"])) as socket:
            began = asyncio.get_running_loop().time()
            await call(socket, "subscribe", topic="a")
            await asyncio.sleep(50)
            expires = (await call(socket, "authenticate", token=token(lives=90, subscribe=["a"])))["expires"]
            assert expires == pytest.approx(time.time() + 90, abs=3)
            ended, code, _ = await closed_after(socket)
        assert code == 4401
        assert 135 <= ended - began <= 145


async def test_a_token_that_ends_sooner_ends_the_socket_sooner() -> None:
    async with client_of(jwt_secret=SECRET, jwt_leeway=0, token="static", heartbeat=1000) as client:
        async with client.socket(headers={"Authorization": "Bearer static"}) as socket:
            began = asyncio.get_running_loop().time()
            await call(socket, "authenticate", token=token(lives=30))
            ended, code, _ = await closed_after(socket)
            assert (code, 25 <= ended - began <= 35) == (4401, True)
        async with client.socket(headers=bearer(lives=30)) as socket:
            assert await call(socket, "authenticate", token="static") == {"expires": None}
            await asyncio.sleep(100)
            assert await call(socket, "ping") == {}


async def test_a_wrong_token_does_not_renew() -> None:
    async with client_of(jwt_secret=SECRET, jwt_leeway=0) as client:
        async with client.socket(headers=bearer(lives=30)) as socket:
            assert (await call(socket, "authenticate", token="wrong"))["code"] == -32003
            began = asyncio.get_running_loop().time()
            ended, code, _ = await closed_after(socket)
        assert (code, ended - began < 35) == (4401, True)


@pytest.mark.parametrize("path", ["/topics/t/events", "/batches/ID/events", "/watch?url=ORIGIN/bytes/5&every=5"])
@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
async def test_a_stream_is_cut_when_its_token_expires(path: str, accept: str) -> None:
    """Without its last chunk: nobody shall take it for complete."""
    async with client_of(jwt_secret=SECRET, jwt_leeway=0) as client:
        headers = {**bearer(lives=30, subscribe=["t"], fetch=True, watch=True), "Accept": accept}
        path = path.replace("ID", await endless_batch(client)).replace("ORIGIN", client.origin)
        async with client.session.get(client.url(path), headers=headers) as response:
            assert response.status == 200
            began = asyncio.get_running_loop().time()
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        assert 25 <= asyncio.get_running_loop().time() - began <= 35
        assert not client.service.streams.readers
        assert repr(client.service.streams.expiries) == "<Expiries 0>"
        expired = {"Authorization": headers["Authorization"]}
        assert (await client.ask("GET", "/batches/x", headers=expired))[0] in (401, 404)


async def endless_batch(client: Client) -> str:
    url = client.origin + "/slow/200000"
    request = {"urls": [url], "options": {"timeout": 300, "retries": 0}}
    status, body, _ = await client.batch(request, **bearer(fetch=True), Prefer="respond-async")
    assert status == 202
    batch: str = orjson.loads(body)["batch"]
    return batch


async def test_limits_of_a_token_reach_as_far_as_the_operator_says() -> None:
    async with client_of(jwt_secret=SECRET, client_topics=2, jwt_raise=2) as client:
        for asked, most in ((1, 1), (3, 3), (100, 4)):
            headers = bearer(subscribe=["*"], limits={"topics": asked})
            async with client.socket(headers=headers) as socket:
                for number in range(most):
                    assert "offset" in await call(socket, "subscribe", topic=f"t{number}")
                refusal = await call(socket, "subscribe", topic="one-more")
                assert (refusal["code"], refusal["message"]) == (-32005, f"limit topics a client: {most}")


async def test_nothing_of_a_token_stays_with_the_service(caplog: pytest.LogCaptureFixture) -> None:
    given = token(fetch=True)
    async with client_of(jwt_secret=SECRET, token="the-static-one") as client:
        service = client.service
        headers = {"Authorization": f"Bearer {given}", "Idempotency-Key": "k"}
        await client.batch({"urls": [client.origin + "/bytes/5"]}, **headers)
        assert service.batches.lifecycle.keys
        shown = [
            service.settings,
            service.credentials,
            service.access,
            service.batches.lifecycle.keys,
            service.sockets,
        ]
        for secret in (given, given.split(".")[2], SECRET, "the-static-one"):
            assert secret not in repr(shown) + caplog.text


async def test_a_publishers_keys_are_those_of_its_subject_or_else_of_its_token() -> None:
    async with client_of(jwt_secret=SECRET, token="a" * 32) as client:

        async def publish(headers: dict[str, str]) -> int:
            _, answer, _ = await client.ask(
                "POST", "/topics/orders", json=1, headers={"Idempotency-Key": "order-17", **headers}
            )
            return int(answer["offset"])

        tokens = [bearer(sub=name, publish=["*"]) for name in ("ann", "bob")]
        tokens += [bearer(publish=["*"]), bearer(publish=["*"], lives=300)]
        tokens.append({"Authorization": "Bearer " + "a" * 32})
        assert [await publish(headers) for headers in tokens] == [1, 2, 3, 4, 5]
        assert [await publish(headers) for headers in tokens] == [1, 2, 3, 4, 5]
        assert await publish(bearer(sub="ann", publish=["*"], lives=300)) == 1
        async with client.session.ws_connect(client.url("/ws"), headers=tokens[1]) as socket:
            position = await call(socket, "publish", topic="orders", data=1, key="order-17")
            assert position["offset"] == 2
