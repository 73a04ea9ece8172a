"""The process itself: how it starts, what it says, and how it stops."""

import asyncio
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import orjson
import pytest
import trustme
import websockets

from tests.end_to_end.processes import Process, origin, run, service

SERVE = (sys.executable, "-m", "service", "serve")


async def test_a_port_in_use_is_one_line_and_exit_1() -> None:
    async with service() as first:
        code, out, err = await run(*SERVE, "--port", str(first.port))
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "in use" in err
    assert "--port" in err


async def test_threads_that_cannot_be_started_are_one_line_and_exit_1() -> None:
    """As with ``pids.max`` or ``ulimit -u``, which root of this machine has not."""
    refuse = 'def start(_): raise RuntimeError("can\'t start new thread")\nthreading.Thread.start = start'
    program = f"import threading\n{refuse}\nfrom service.__main__ import main\nraise SystemExit(main())"
    code, out, err = await run(sys.executable, "-c", program, "serve", "--port", "0", "--log-format", "text")
    assert (code, out) == (1, "")
    assert err.startswith("sluice: no thread can be started: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--port", "x"], "--port"),
        (["--no-such-option"], "--no-such-option"),
        (["--host", "0.0.0.0"], "SLUICE_TOKEN"),
        (["--tls-cert", "/nowhere", "--tls-key", "/nowhere"], "tls"),
    ],
)
async def test_a_bad_option_says_what_to_do(options: list[str], named: str) -> None:
    code, _, err = await run(*SERVE, *options)
    assert code in (1, 2)
    assert named in err.lower() or named in err
    assert "Traceback" not in err


NO_IPV6 = """
import errno, runpy, socket, sys
class Socket(socket.socket):
    def __init__(self, family=socket.AF_INET, *more, **named):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        super().__init__(family, *more, **named)
socket.socket = Socket
sys.argv[0] = "sluice"
runpy.run_module("service", run_name="__main__")
"""


async def test_ipv6_that_the_machine_does_not_have_is_one_line() -> None:
    code, out, err = await run(sys.executable, "-c", NO_IPV6, "serve", "--port", "0", "--host", "::", "--no-auth")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "needs IPv6" in err


async def test_help_and_version() -> None:
    code, out, _ = await run(*SERVE, "--help")
    assert code == 0
    assert "SLUICE_HEARTBEAT" in out
    assert (await run(sys.executable, "-m", "service", "--version"))[1].startswith("sluice ")


async def test_sigterm_drains_and_exits_with_0() -> None:
    async with service("--drain", "2") as server:
        uri = f"ws://{server.authority}/ws"
        async with websockets.connect(uri, subprotocols=[websockets.Subprotocol("sluice.v1")]) as client:
            server.process.send_signal(signal.SIGTERM)
            closing = orjson.loads(await client.recv())
            assert closing["method"] == "closing"
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await client.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        assert await server.ended() == 0


async def test_a_running_batch_gets_its_done_before_the_end() -> None:
    async with (
        origin() as upstream,
        service("--drain", "5", "--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
        aiohttp.ClientSession() as session,
    ):
        body = {"urls": [f"{upstream.url}/slow/{ms}" for ms in (1, 800)]}
        headers = {"Accept": "application/x-ndjson"}
        async with session.post(f"{server.url}/fetch-batch", json=body, headers=headers) as answer:
            first = await answer.content.readline()
            server.process.send_signal(signal.SIGTERM)
            rest = await answer.content.read()
        assert b'"event":"result"' in first
        assert orjson.loads(rest.splitlines()[-1])["ok"] == 2
        assert await server.ended() == 0


async def test_a_second_sigterm_ends_it_at_once() -> None:
    async with service("--drain", "60") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        server.process.send_signal(signal.SIGTERM)
        await reader.readuntil(b"draining")
        server.process.send_signal(signal.SIGTERM)
        assert await server.ended(within=30) == 1
        writer.close()


async def test_over_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    files = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    async with service(*files) as server:
        assert server.url.startswith("https://")
        async with websockets.connect(f"wss://localhost:{server.port}/ws", ssl=trust, max_size=None) as client:
            await client.send('{"jsonrpc":"2.0","id":1,"method":"subscribe","params":{"topic":"t"}}')
            await client.recv()
            big = "x" * 60_000
            for number in range(20):
                await client.send(
                    orjson.dumps({"jsonrpc": "2.0", "method": "publish",
                                  "params": {"topic": "t", "data": [number, big]}}).decode()
                )  # fmt: skip
            got = [orjson.loads(await client.recv())["params"]["data"] for _ in range(20)]
            assert got == [[number, big] for number in range(20)]


async def test_the_configuration_is_printed_as_what_brings_it_about_without_secrets() -> None:
    command = (sys.executable, "-m", "service", "serve")
    given = {"SLUICE_TOKEN": "a-secret", "SLUICE_ALLOW_PORT": "81,82"}
    code, out, err = await run(*command, "--print-config", "--drain", "3", env=given)
    assert (code, err) == (0, "")
    assert "a-secret" not in out
    printed = dict(line.split("=", 1) for line in out.splitlines())
    assert (printed["SLUICE_DRAIN"], printed["SLUICE_ALLOW_PORT"]) == ("3.0", "81,82")
    again = {name: value for name, value in printed.items() if value and name != "SLUICE_TOKEN"}
    code, out, _ = await run(*command, "--print-config", env={**again, "SLUICE_TOKEN": "x"})
    assert (code, dict(line.split("=", 1) for line in out.splitlines())) == (0, printed)


async def test_the_configuration_is_checked_without_serving() -> None:
    command = (sys.executable, "-m", "service", "serve", "--check-config")
    assert await run(*command) == (0, "", "")
    async with service() as running:
        assert await run(*command, "--port", str(running.port)) == (0, "", ""), "its own port is not a mistake"


async def test_all_that_is_wrong_is_said_at_once_a_line_each() -> None:
    wrong = {
        "--port": "99999",
        "--heartbeat": "soon",
        "--allow-net": "nonsense",
        "--tls-cert": "/nowhere/cert.pem",
        "--tls-key": "/nowhere/key.pem",
        "--token-file": "/nowhere/token",
        "--host": "192.0.2.1",
        "--allow-origin": "page.example",
        "--allow-host": "https://page.example",
        "--allow-method": "post",
        "--ring-size": "999999999",
        "--websockets": "100000000",
    }
    given = [word for pair in wrong.items() for word in pair]
    for command in ((*SERVE, "--check-config"), SERVE):
        code, out, err = await run(*command, "--log-format", "json", *given)
        assert (code, out) == (2, "")
        lines = [orjson.loads(line)["message"] for line in err.splitlines()]
        assert sorted(line.split(":")[0] for line in lines) == sorted(wrong)


def issue(folder: Path) -> bytes:
    """Write a new certificate and its key; return the certificate as it is sent."""
    issued = trustme.CA().issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    return ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())


async def certificate(server: Process) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    assert isinstance(shown, bytes)
    return shown


async def hang_up(server: Process, until: Callable[[], Awaitable[bool]]) -> None:
    """Send SIGHUP, and wait until it has taken effect."""
    server.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(60):
        while not await until():
            await asyncio.sleep(0.02)  # a signal to another process has nothing to wait on


async def test_sighup_takes_the_new_certificate_and_keeps_the_old_one_where_it_does_not_fit(tmp_path: Path) -> None:
    first = issue(tmp_path)
    files = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    async with service(*files) as server:
        assert await certificate(server) == first
        second = issue(tmp_path)

        async def renewed() -> bool:
            return await certificate(server) == second

        await hang_up(server, renewed)
        (tmp_path / "key.pem").write_text("not a key")
        server.process.send_signal(signal.SIGHUP)
        for _ in range(5):
            assert await certificate(server) == second


async def test_sighup_takes_the_new_token_and_never_ends_the_service(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one")
    async with service("--token-file", str(file)) as server, aiohttp.ClientSession(server.url) as session:

        async def status(token: str) -> int:
            async with session.get("/topics/t", headers={"Authorization": f"Bearer {token}"}) as answer:
                return answer.status

        assert (await status("one"), await status("two")) == (404, 401)
        file.write_text("two")

        async def taken() -> bool:
            return await status("two") == 404

        await hang_up(server, taken)
        assert await status("one") == 401
        file.unlink()
        server.process.send_signal(signal.SIGHUP)
        assert await status("two") == 404
    async with service() as server, aiohttp.ClientSession(server.url) as session:
        server.process.send_signal(signal.SIGHUP)
        async with session.get("/healthz") as answer:
            assert answer.status == 200
