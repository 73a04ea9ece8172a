"""Several publishers, several topics a client, users in messages: each sequence has its account, on any target."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.end_to_end.peers import Peer, Talk, peers
from tests.end_to_end.processes import loadtest, run, start

NONE = {"lost": 0, "gapped": 0, "repeated": 0, "reordered": 0}
JOIN = ("--target", "chat", "--join", '{"do":"join","room":"{topic}","as":"{token}"}', "--joined", "joined",
        "--say", '{"do":"say","room":"{topic}","as":"{token}","id":{n},"text":{data}}')  # fmt: skip


def rooms(deliver: Any = None, said: list[Any] | None = None) -> Talk:
    """Return a server with rooms; ``deliver(number, room, peers, message)`` does what is not right."""
    joined: dict[str, list[Peer]] = {}

    def talk(peer: Peer, payload: bytes) -> None:
        message = json.loads(payload)
        if said is not None:
            said.append((peer, message))
        if message["do"] == "join":
            joined.setdefault(message["room"], []).append(peer)
            peer.send(b'{"joined":1}')
            return
        for one in joined[message["room"]]:
            if deliver is None or not deliver(message, one, joined):
                one.send(json.dumps({"text": message["text"]}).encode())

    return talk


async def broadcast(tmp_path: Path, talk: Talk, *more: str) -> tuple[int, str, Any]:
    path = tmp_path / "r.json"
    async with peers(talk) as server:
        code, out, err = await run(*loadtest(
            "broadcast", "--url", server.url, *JOIN, "--clients", "12", "--rate", "20", "--duration", "1", "--settle", "3",
            "--json", str(path), *more,
        ))  # fmt: skip
    return code, out + err, orjson.loads(path.read_bytes())


async def test_several_publishers_of_several_topics_in_several_processes(tmp_path: Path) -> None:
    said: list[Any] = []
    code, text, report = await broadcast(
        tmp_path, rooms(said=said), "--topics", "2", "--publishers", "3", "--processes", "2"
    )
    assert code == 0, text
    assert (report["checks"], report["counters"]["delivered"]) == (NONE, 2 * 20 * 6)
    rooms_of = {peer: message["room"] for peer, message in said if message["do"] == "join"}
    assert all(rooms_of[peer] == message["room"] for peer, message in said if message["do"] == "say")
    assert len({peer for peer, message in said if message["do"] == "say"}) == 6


async def test_users_have_topics_and_are_known_inside_messages(tmp_path: Path) -> None:
    users = tmp_path / "users.jsonl"
    users.write_text(
        '{"token":"s3cret-1","topics":["red","blue"],"messages":[{"say":"one"}]}\n{"token":"s3cret-2","topics":["blue"]}\n'
    )
    said: list[Any] = []
    code, text, report = await broadcast(tmp_path, rooms(said=said), "--users", str(users), "--publishers", "2")
    assert code == 0, text
    # Twelve clients are in blue, six in red.
    assert (report["checks"], report["counters"]["delivered"]) == (NONE, 20 * 12 + 20 * 6)
    joins = sorted((message["as"], message["room"]) for _, message in said if message["do"] == "join")
    assert joins == [("s3cret-1", "blue")] * 6 + [("s3cret-1", "red")] * 6 + [("s3cret-2", "blue")] * 6
    ones = {message["as"] for _, message in said if message["do"] == "say" and "body" in message["text"]}
    assert ones == {"s3cret-1"}
    assert "s3cret" not in text + (tmp_path / "r.json").read_text()


async def test_what_comes_to_the_wrong_client_or_is_altered_fails(tmp_path: Path) -> None:
    def wrong(message: Any, one: Peer, joined: dict[str, list[Peer]]) -> bool:
        first = one is joined[message["room"]][0]
        if message["room"].endswith("0") and message["id"] == 5 and first:
            joined[message["room"][:-1] + "1"][0].send(json.dumps({"text": message["text"]}).encode())
            return True
        if message["id"] == 7 and first:
            one.send(json.dumps({"text": {**message["text"], "pad": "xx"}}).encode())
            return True
        return False

    code, text, report = await broadcast(tmp_path, rooms(wrong), "--topics", "2", "--threshold", "errors==0")
    assert code == 99, text
    assert report["reasons"] == ["misrouted==0: 1", "altered==0: 2"]
    assert report["checks"] == {**NONE, "lost": 1}


async def test_messages_are_known_where_the_server_puts_them(tmp_path: Path) -> None:
    def rewritten(message: Any, one: Peer, joined: dict[str, list[Peer]]) -> bool:
        if message["id"] != 3 or one is not joined[message["room"]][0]:
            one.send(json.dumps({"n": 1, "posts": [{"id": message["id"], "html": "..."}]}).encode())
        return True

    code, text, report = await broadcast(
        tmp_path, rooms(rewritten), "--recognise", "$.posts[0].id", "--threshold", "lost==1"
    )
    assert code == 0, text
    assert report["counters"]["delivered"] == 20 * 12 - 1


async def test_a_run_can_be_scraped(tmp_path: Path) -> None:
    async with peers(rooms()) as server:
        child = await start(*loadtest(
            "broadcast", "--url", server.url, *JOIN, "--clients", "3", "--rate", "20", "--duration", "60", "--metrics-port", "0",
        ))  # fmt: skip
        assert child.process.stderr is not None
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while b"metrics at " not in (line := await child.process.stderr.readline()):
                pass
            url = line.decode().split("metrics at ")[1].strip()
            delivered = 0.0
            while not delivered:
                async with session.get(url, headers={"Accept": "application/openmetrics-text"}) as answer:
                    families = {one.name: one for one in text_string_to_metric_families(await answer.text())}
                samples = families["loadtest_count"].samples
                delivered = next(one.value for one in samples if one.labels["name"] == "delivered")
                assert families["loadtest_run"].samples[0].labels["status"] == "running"
                await asyncio.sleep(0.1)
        code, _, err = await run(
            *loadtest("connect", "--url", server.url, "--metrics-port", url.split(":")[2].split("/")[0])
        )
        assert (code, "cannot listen on 127.0.0.1:" in err) == (2, True), err
        await child.stop()
