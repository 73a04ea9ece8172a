"""Signed tokens as operators and clients have them: made on the command line, shown to the real process."""

import asyncio
import sys
import time
from pathlib import Path

import aiohttp
import jwt
import orjson
import pytest
import websockets

from service.client import Client, Message, Refused, State
from tests.end_to_end.processes import program, run, service

SLUICE = (sys.executable, "-m", "service")


async def made(*arguments: str, env: dict[str, str] | None = None) -> str:
    code, out, err = await run(*SLUICE, "token", *arguments, env=env)
    assert code == 0, err
    return out.strip()


async def keys(folder: Path) -> tuple[str, str]:
    """Make a key as docs/operations.md says it; return the private and the public file."""
    private, public = str(folder / "private.pem"), str(folder / "2026-11.pem")
    openssl = program("openssl", "Debian: openssl")
    for command in (
        ("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private),
        ("pkey", "-in", private, "-pubout", "-out", public),
    ):
        code, _, err = await run(openssl, *command)
        assert code == 0, err
    return private, public


async def test_a_token_of_either_kind_opens_what_it_grants_and_no_more(tmp_path: Path) -> None:
    private, public = await keys(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("s" * 40)
    more = ("--subscribe", "news.*", "--publish", "news.*")
    by_key = await made("--key", private, "--kid", "2026-11", *more)
    by_secret = await made("--secret-file", str(secret), *more)
    async with (
        service("--jwt-key", public, "--jwt-secret-file", str(secret)) as server,
        aiohttp.ClientSession() as session,
    ):
        for token in (by_key, by_secret):
            headers = {"Authorization": f"Bearer {token}"}
            for topic, status in (("news.eu", 200), ("other", 403)):
                async with session.post(f"{server.url}/topics/{topic}", json=1, headers=headers) as response:
                    assert response.status == status
            protocols = [websockets.Subprotocol("sluice.v1"), websockets.Subprotocol(f"bearer.{token}")]
            async with websockets.connect(f"ws://{server.authority}/ws", subprotocols=protocols) as client:
                request = {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"topic": "news.eu"}}
                await client.send(orjson.dumps(request), text=True)
                assert orjson.loads(await client.recv())["result"]["topic"] == "news.eu"


async def test_a_token_that_lives_a_second_is_closed_with_4401(tmp_path: Path) -> None:
    env = {"SLUICE_JWT_SECRET": "s" * 40, "SLUICE_JWT_LEEWAY": "1"}
    async with service(env=env) as server:
        token = await made("--expires", "1s", "--subscribe", "a", env=env)
        protocols = [websockets.Subprotocol("sluice.v1"), websockets.Subprotocol(f"bearer.{token}")]
        async with websockets.connect(f"ws://{server.authority}/ws", subprotocols=protocols) as client:
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await client.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


async def test_secrets_and_tokens_reach_no_output_of_the_process(tmp_path: Path) -> None:
    """Not by errors, not by the log, not by the figures, the settings, the documents or the list of processes."""
    secret, static = "a-secret-that-nobody-may-ever-see", "a-token-that-is-shown-by-clients-alone"
    env = {"SLUICE_JWT_SECRET": secret, "SLUICE_TOKEN": static}
    token = await made("--subscribe", "*", "--publish", "*", "--fetch", "all", env=env)
    hidden = (secret, static, token, token.split(".")[2])
    shown = []
    for option in ("--print-config", "--check-config"):
        shown += await run(*SLUICE, "serve", option, env=env)
    shown += await run(*SLUICE, "serve", "--print-config", "--port", "x", env=env)
    async with service(env=env) as server, aiohttp.ClientSession() as session:
        shown.append(Path(f"/proc/{server.process.pid}/cmdline").read_text())
        for shown_token in (static, token, token[:-3] + "AAA", static + "x"):
            headers = {"Authorization": f"Bearer {shown_token}"}
            for method, path, body in (
                ("GET", "/metrics", None),
                ("GET", "/openapi.json", None),
                ("GET", "/topics/_stats", None),
                ("GET", "/nowhere", None),
                ("POST", "/topics/a", b"{"),
                ("POST", "/topics/_a", b"1"),
                ("POST", "/fetch-batch", b'{"urls":["http://127.0.0.1/"]}'),
            ):
                json = {**headers, "Content-Type": "application/json"} if body else headers
                async with session.request(method, server.url + path, data=body, headers=json) as response:
                    shown.append(await response.text())
                    shown.append(str(response.headers))
        _, err = await stopped(server.process)
        shown.append(err)
    for text in shown:
        for one in hidden:
            assert one not in str(text)


async def stopped(process) -> tuple[str, str]:  # type: ignore[no-untyped-def]
    process.terminate()
    out, err = await process.communicate()
    return out.decode(), err.decode()


async def test_a_client_with_a_function_of_tokens_outlives_them_and_hears_of_what_a_new_one_does_not_cover() -> (
    None
):
    covered = ["t", "u"]

    def token() -> str:
        return jwt.encode({"exp": int(time.time()) + 5, "subscribe": covered, "publish": ["*"]}, "s" * 40, "HS256")

    states: list[State] = []
    async with (
        service(env={"SLUICE_JWT_SECRET": "s" * 40, "SLUICE_JWT_LEEWAY": "0"}) as server,
        Client(server.url, token=token, on_state=states.append) as client,
        client.subscribe("t") as kept,
        client.subscribe("u") as lost,
    ):
        await asyncio.sleep(10)  # twice the life of a token, which the service measures by the wall clock
        await client.publish("t", 1)
        assert isinstance(await asyncio.wait_for(anext(aiter(kept)), 5), Message)
        assert [state.state for state in states] == ["connecting", "open"]
        covered.remove("u")
        with pytest.raises(Refused, match="forbidden: u"):
            await asyncio.wait_for(anext(aiter(lost)), 60)
        assert [state.state for state in states] == ["connecting", "open"]
