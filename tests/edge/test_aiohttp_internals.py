"""aiohttp's internals: all in one module, and the service runs without any of them, with one warning."""

import ast
import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from multidict import MultiDict

from service.edge.http import aiohttp_internals
from service.edge.http.aiohttp_internals import NEEDED, Feature, check, has
from tests.edge.running import Client, call, client_of

SERVICE = Path(__file__).parent.parent.parent / "service"
UNMASKED = b"\x81\x02{}"


@pytest.fixture(autouse=True)
def looked_up_anew() -> Iterator[None]:
    has.cache_clear()
    yield
    has.cache_clear()


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that has aiohttp lack what these features need."""

    def without(*features: Feature) -> None:
        lacking = {feature: ((RequestHandler, f"_gone_{feature.name}"),) for feature in features}
        monkeypatch.setattr(aiohttp_internals, "NEEDED", {**NEEDED, **lacking})

    return without


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "sluice.http" and "aiohttp" in record.message]


def test_the_installed_version_has_everything(caplog: pytest.LogCaptureFixture) -> None:
    check()
    assert [feature for feature in Feature if not has(feature)] == []
    assert warnings_of(caplog) == []


def test_every_feature_says_what_it_needs() -> None:
    assert set(NEEDED) == set(Feature)


async def works(client: Client) -> None:
    assert (await client.ask("GET", "/readyz"))[0] == 200
    async with client.socket() as socket:
        assert await call(socket, "subscribe", topic="t")
        client.service.hub.publish("t", b"1", 0.0)
        assert (await socket.receive_json())["params"]["data"] == 1


@pytest.mark.parametrize("feature", Feature)
async def test_the_service_runs_without_one_and_warns_once(
    feature: Feature, without: Any, caplog: pytest.LogCaptureFixture
) -> None:
    without(feature)
    async with client_of() as client:
        await works(client)
        await works(client)
    (record,) = warnings_of(caplog)
    assert vars(record)["why"] == feature.value
    assert vars(record)["missing"] == [f"RequestHandler._gone_{feature.name}"]
    assert not any(record.exc_info for record in caplog.records)


async def test_it_runs_without_all_of_them_and_warns_once(without: Any, caplog: pytest.LogCaptureFixture) -> None:
    without(*Feature)
    async with client_of() as client:
        await works(client)
    (record,) = warnings_of(caplog)
    assert vars(record)["version"] == aiohttp.__version__
    assert len(vars(record)["missing"]) == len(Feature)


@pytest.mark.parametrize("there", [True, False])
async def test_connections_on_which_nothing_is_asked_are_closed_early(there: bool, without: Any) -> None:
    if not there:
        without(Feature.UNUSED)
    async with client_of() as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        acceptor: Any = client.service.acceptor
        await asyncio.sleep(0.1)
        assert (acceptor._server.close_unused() > 0) is there
        writer.close()


@pytest.mark.parametrize("there", [True, False])
async def test_a_place_is_free_when_its_handler_has_ended(there: bool, without: Any) -> None:
    if not there:
        without(Feature.ENDINGS)
    lost: list[tuple[int, int]] = []
    async with client_of() as client:
        acceptor: Any = client.service.acceptor
        server = acceptor._server
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        server.on_lost = lambda: lost.append((server.open, len(server.connections)))
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(30):
            while not lost:
                await asyncio.sleep(0.01)
        # Without its task nobody can say when the handler has ended.
        assert lost == [(0, 0 if there else 1)]


@pytest.mark.parametrize("there", [True, False])
async def test_frames_that_are_not_masked(there: bool, without: Any) -> None:
    if not there:
        without(Feature.FRAMES)
    async with client_of() as client, client.socket() as socket:
        socket._response.connection.transport.write(UNMASKED)
        message = await socket.receive()
        # aiohttp's own reader accepts it; its text has an error for an answer.
        assert message.type is (aiohttp.WSMsgType.CLOSE if there else aiohttp.WSMsgType.TEXT)


@pytest.mark.parametrize("there", [True, False])
async def test_the_headers_of_a_handshake(there: bool, without: Any) -> None:
    if not there:
        without(Feature.HANDSHAKE)
    async with client_of() as client, client.socket() as socket:
        assert await call(socket, "ping") == {}
        (connection,) = client.service.sockets.connections
        protocol: Any = connection.transport.get_protocol()
        assert (protocol._parser is None) is there


# The rule

CLASSES = (
    RequestHandler, web.BaseRequest, web.Request, web.Server, web.AppRunner, web.Application, web.StreamResponse,
    web.Response, web.WebSocketResponse, aiohttp.ClientSession, aiohttp.ClientResponse, aiohttp.TCPConnector,
    aiohttp.ClientWebSocketResponse, MultiDict, uvloop.Loop,
)  # fmt: skip
THEIRS = {
    name
    for owner in CLASSES
    for part in owner.__mro__
    for name in (*dir(part), *getattr(getattr(part.__dict__.get("__init__"), "__code__", None), "co_names", ()))
    if name.startswith("_") and not name.startswith("__")
}
"""Private names of the classes that we use."""


def private(tree: ast.Module) -> list[str]:
    """Return private names of aiohttp that a module uses on other objects, and those that it overrides."""
    used = [
        f"{node.lineno}: {node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in THEIRS
        and not (isinstance(node.value, ast.Name) and (node.value.id in ("self", "cls") or node.value.id.istitle()))
        and not (isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "super")
    ]
    theirs = {name for names in NEEDED.values() for _, name in names}
    defined = [
        f"{node.lineno}: {node.name}"
        for owner in ast.walk(tree)
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in theirs
    ]
    return used + defined


def test_no_other_module_uses_private_names_of_aiohttp() -> None:
    found = {
        str(path.relative_to(SERVICE)): names
        for path in SERVICE.rglob("*.py")
        if path.name != "aiohttp_internals.py" and (names := private(ast.parse(path.read_text())))
    }
    assert found == {}


def test_the_rule_finds_what_it_is_for() -> None:
    assert private(ast.parse("x = handler._waiter")) == ["1: _waiter"]
    assert private(ast.parse("class A:\n def _post_start(self): super()._post_start()")) == ["2: _post_start"]
    assert private(ast.parse("self._waiter = os._exit")) == []
