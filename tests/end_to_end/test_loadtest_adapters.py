"""The adapters that ship, against servers that others wrote; and each finds the one delivery that a server leaves out."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.end_to_end.centrifugo import Centrifugo
from tests.end_to_end.npm import packages
from tests.end_to_end.peers import Peer, peers
from tests.end_to_end.processes import Endpoint, listening, loadtest, nginx, run

SERVERS = Path(__file__).parent / "servers.cjs"
NONE = {"lost": 0, "gapped": 0, "repeated": 0, "reordered": 0}


async def broadcast(tmp_path: Path, url: str, target: str, *more: str) -> tuple[int, str, Any]:
    path = tmp_path / "r.json"
    code, out, err = await run(*loadtest(
        "broadcast", "--target", target, "--url", url, "--clients", "20", "--rate", "20", "--duration", "1", "--topics", "2",
        "--settle", "3", "--threshold", "lost==0", "--json", str(path), *more,
    ))  # fmt: skip
    return code, out + err, orjson.loads(path.read_bytes())


async def holds(tmp_path: Path, url: str, target: str, *more: str) -> None:
    code, said, report = await broadcast(tmp_path, url, target, *more)
    assert code == 0, said
    assert (report["checks"], report["errors"], report["findings"]) == (NONE, {}, [])
    assert report["counters"]["delivered"] == 2 * 20 * 10


async def finds(tmp_path: Path, url: str, target: str, *more: str) -> None:
    code, said, report = await broadcast(tmp_path, url, target, *more)
    assert code == 99, said
    assert report["checks"] == {**NONE, "lost": 1}
    assert report["counters"]["delivered"] == 2 * 20 * 10 - 1


@pytest.mark.parametrize(
    ("kind", "target", "more"),
    # This broker of STOMP sends nothing back to the sender.
    [("socketio", "socketio", ()), ("graphql", "graphql-ws", ()), ("stomp", "stomp", ("--apart",))],
)
async def test_servers_from_npm(tmp_path: Path, kind: str, target: str, more: tuple[str, ...]) -> None:
    folder = packages().parent
    for drop, check in (("0", holds), ("7", finds)):
        async with listening("node", str(SERVERS), kind, str(folder), drop) as server:
            await check(tmp_path, server.url, target, *more)


def phoenix(drop: int) -> Callable[[Peer, bytes], None]:
    """Return a server with the serializer of Phoenix 1.7: five fields, a reply to each join, messages in broadcasts."""
    joined: dict[str, list[Peer]] = {}
    left = [drop]

    def talk(peer: Peer, payload: bytes) -> None:
        join_ref, ref, topic, event, content = orjson.loads(payload)
        if event == "phx_join":
            joined.setdefault(topic, []).append(peer)
            peer.send(orjson.dumps([join_ref, ref, topic, "phx_reply", {"status": "ok", "response": {}}]))
            return
        for one in joined[topic]:
            if content["n"] == left[0]:
                left[0] = 0
                continue
            one.send(orjson.dumps([None, None, topic, event, content]))

    return talk


def chat(drop: int) -> Callable[[Peer, bytes], None]:
    """Return a server that speaks lines of text: JOIN room, SAY room text."""
    joined: dict[str, list[Peer]] = {}
    left = [drop]

    def talk(peer: Peer, payload: bytes) -> None:
        word, room, *rest = payload.decode().split(" ", 2)
        if word == "JOIN":
            joined.setdefault(room, []).append(peer)
            peer.send(b"welcome to " + room.encode())
            return
        for one in joined[room]:
            if re.search(rf'"n":{left[0]},', rest[0]):
                left[0] = -1
            else:
                one.send(f"<someone@{room}> {rest[0]}".encode())

    return talk


CHAT = ("--join", "JOIN {topic}", "--joined", "^welcome", "--say", "SAY {topic} {data}")


@pytest.mark.parametrize(
    ("server", "target", "more"),
    [
        (phoenix, "phoenix", ("--prefix", "room:x")),
        (lambda drop: Centrifugo(drop=drop), "centrifugo", ("--token", "t0ken")),
        (chat, "chat", CHAT),
    ],
)
async def test_protocols_by_their_documents(
    tmp_path: Path, server: Callable[[int], Callable[[Peer, bytes], None]], target: str, more: tuple[str, ...]
) -> None:
    for drop, check in ((-1, holds), (7, finds)):
        async with peers(server(drop)) as running:
            await check(tmp_path, running.url, target, *more)


@pytest.mark.parametrize("target", ["sse", "ndjson"])
async def test_streams_of_the_service(tmp_path: Path, shared: Endpoint, target: str) -> None:
    await holds(
        tmp_path, shared.url, target, "--path", "/topics/{topic}/events", "--publish-path", "/topics/{topic}"
    )


async def test_server_sent_events_of_nchan(tmp_path: Path) -> None:
    if not Path("/usr/lib/nginx/modules/ngx_nchan_module.so").exists():
        pytest.skip("nginx' module Nchan is not installed (Debian: libnginx-mod-nchan)")
    channels = (
        "location = /sub { nchan_subscriber eventsource; nchan_channel_id $arg_id; nchan_subscriber_first_message newest; } "
        "location = /pub { nchan_publisher http; nchan_channel_id $arg_id; }"
    )
    async with nginx(channels, "load_module /usr/lib/nginx/modules/ngx_nchan_module.so;") as port:
        await holds(
            tmp_path,
            f"http://127.0.0.1:{port}",
            "sse",
            "--path",
            "/sub?id={topic}",
            "--publish-path",
            "/pub?id={topic}",
        )


async def test_a_stream_that_ends_is_a_lost_connection(tmp_path: Path) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    code, _, err = await run(
        *loadtest("idle", "--target", "sse", "--url", url, "--clients", "3", "--duration", "2")
    )
    server.close()
    assert code == 1
    assert "every connection was lost: the server ended the stream" in err


@pytest.mark.parametrize(("code", "said"), [("--joined", "is not a regular expression")])
async def test_a_pattern_that_is_none_is_refused(code: str, said: str) -> None:
    got, _, err = await run(*loadtest("connect", "--target", "chat", code, "("))
    assert got == 2
    assert said in err
