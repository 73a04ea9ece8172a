"""The load generator against the real service, against nothing, and against a server that lies."""

import re
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from tests.end_to_end.processes import loadtest, origin, run, service


async def test_broadcast_finds_nothing_wrong_with_the_service(tmp_path: Path) -> None:
    report, page = tmp_path / "r.json", tmp_path / "r.html"
    async with service() as server:
        code, out, err = await run(
            *loadtest("broadcast", "--url", server.url, "--clients", "50", "--duration", "1", "--rate", "20",
                      "--threshold", "lost==0", "--threshold", "delivered==1000",
                      "--json", str(report), "--html", str(page))
        )  # fmt: skip
    assert code == 0, err
    document = orjson.loads(report.read_bytes())
    assert document["checks"] == {"lost": 0, "gapped": 0, "repeated": 0, "reordered": 0}
    assert document["latency_ms"]["delivery"]["count"] == 1000
    assert 0 < document["latency_ms"]["delivery"]["p99"] < 5000
    assert "<svg" in page.read_text()
    assert re.search(r"lost 0", out)


async def test_connect_and_fetch(tmp_path: Path) -> None:
    async with (
        origin() as upstream,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
    ):
        code, out, err = await run(*loadtest("connect", "--url", server.url, "--clients", "100", "--duration", "1",
                                             "--threshold", "connected==100"))  # fmt: skip
        assert code == 0, err
        code, out, err = await run(*loadtest("fetch", "--url", server.url, "--origin", upstream.url, "--urls", "500",
                                             "--batch-size", "100", "--threshold", "fetched==500"))  # fmt: skip
        assert code == 0, out + err


async def test_a_threshold_that_fails_is_exit_99() -> None:
    async with service() as server:
        code, out, _ = await run(*loadtest("connect", "--url", server.url, "--clients", "5", "--duration", "0.2",
                                           "--threshold", "connected>5"))  # fmt: skip
    assert code == 99
    assert "FAILED connected>5: 5" in out


async def test_a_token_is_shown() -> None:
    async with service(env={"SLUICE_TOKEN": "right"}) as server:
        options = (
            "connect",
            "--url",
            server.url,
            "--clients",
            "5",
            "--duration",
            "0.2",
            "--threshold",
            "connected==5",
        )
        assert (await run(*loadtest(*options, "--token", "right")))[0] == 0
        assert (await run(*loadtest(*options, "--token", "wrong")))[0] in (1, 99)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("broadcast", "--clients", "0"), 2),
        (("broadcast", "--threshold", "nonsense"), 2),
        (("broadcast", "--url", "ftp://x"), 2),
        (("nonsense",), 2),
        (("broadcast", "--url", "http://127.0.0.1:1", "--clients", "2"), 1),
    ],
)
async def test_bad_usage_and_nobody_there(arguments: tuple[str, ...], code: int) -> None:
    got, _, err = await run(*loadtest(*arguments))
    assert got == code
    assert "Traceback" not in err
    assert err


class Liar:
    """A server that speaks enough of the protocol to lose, repeat and reorder messages."""

    def __init__(self, order: list[int]) -> None:
        self.order = order
        self.sockets: set[web.WebSocketResponse] = set()
        self.published = 0

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("sluice.v1",))
        await socket.prepare(request)
        async for message in socket:
            value = orjson.loads(message.data)
            if value["method"] == "subscribe":
                self.sockets.add(socket)
                result = {"topic": value["params"]["topic"], "epoch": "e", "offset": 0, "recovered": False}
            else:
                self.published += 1
                result = {"epoch": "e", "offset": self.published}
            await socket.send_json({"jsonrpc": "2.0", "id": value["id"], "result": result})
            if self.published == len(set(self.order)) or self.published == 5:
                for reader in self.sockets:
                    for offset in self.order:
                        params = {"topic": "loadtest/0", "offset": offset, "data": 1}
                        await reader.send_json({"jsonrpc": "2.0", "method": "message", "params": params})
                self.sockets.clear()
        return socket


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ([1, 2, 3, 4, 5], {"lost": 0, "gapped": 0, "repeated": 0, "reordered": 0}),
        ([1, 2, 4, 5], {"lost": 4, "gapped": 0, "repeated": 0, "reordered": 0}),
        ([1, 2, 3, 4], {"lost": 4, "gapped": 0, "repeated": 0, "reordered": 0}),
        ([1, 2, 2, 3, 4, 5], {"lost": 0, "gapped": 0, "repeated": 4, "reordered": 0}),
        ([1, 3, 2, 4, 5], {"lost": 0, "gapped": 0, "repeated": 0, "reordered": 4}),
    ],
)
async def test_a_server_that_lies_is_found_out(tmp_path: Path, order: list[int], found: dict[str, int]) -> None:
    liar, app = Liar(order), web.Application()
    app.router.add_get("/ws", liar.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    report = tmp_path / "r.json"
    await run(*loadtest("broadcast", "--url", f"http://127.0.0.1:{port}", "--clients", "4", "--rate", "50",
                        "--duration", "0.1", "--settle", "1", "--json", str(report)))  # fmt: skip
    await runner.cleanup()
    assert orjson.loads(report.read_bytes())["checks"] == found


async def test_a_small_demo(tmp_path: Path) -> None:
    report, page = tmp_path / "r.json", tmp_path / "r.html"
    code, out, err = await run(
        *loadtest(
            "demo",
            "--clients",
            "200",
            "--urls",
            "300",
            "--duration",
            "2",
            "--json",
            str(report),
            "--html",
            str(page),
        )
    )
    assert code == 0, out + err
    assert "200 of 200" in out
    assert "300 of 300" in out
    assert orjson.loads(report.read_bytes())["counters"]["delivered"] == 200 * 20
