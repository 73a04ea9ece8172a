"""Servers of other people: what they send is recognised, what they replay is counted apart, and adapters fail with their line."""

import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.end_to_end.peers import Peer, peers
from tests.end_to_end.processes import ROOT, listening, loadtest, run

NONE = {"lost": 0, "gapped": 0, "repeated": 0, "reordered": 0}


def rooms(
    write: Callable[[dict[str, Any]], str], history: list[str] | None = None
) -> Callable[[Peer, bytes], None]:
    """Return a chat server as docs/loadtest.md has it, which writes JSON in its own way and may replay what it has."""
    joined: dict[str, list[Peer]] = {}

    def talk(peer: Peer, payload: bytes) -> None:
        message = json.loads(payload)
        if message["do"] == "join":
            joined.setdefault(message["room"], []).append(peer)
            peer.send(json.dumps({"joined": message["room"]}).encode())
            for text in history or ():
                peer.send(text.encode())
            return
        text = write({"room": message["room"], "text": message["text"]})
        if history is not None:
            history.append(text)
        for one in joined[message["room"]]:
            one.send(text.encode())

    return talk


async def broadcast(tmp_path: Path, url: str, *more: str, target: str | None = None) -> tuple[int, str, str, Any]:
    adapter = tmp_path / "rooms.py"
    if target is None:
        text = (ROOT / "docs" / "loadtest.md").read_text()
        adapter.write_text(text.split("```python\n")[1].split("```")[0])
    else:
        adapter.write_text(target)
    path = tmp_path / "r.json"
    code, out, err = await run(*loadtest(
        "broadcast", "--target", str(adapter), "--url", url, "--clients", "10", "--rate", "20", "--duration", "1",
        "--settle", "3", "--json", str(path), *more,
    ))  # fmt: skip
    return code, out, err, orjson.loads(path.read_bytes())


@pytest.mark.parametrize(
    "write",
    [
        json.dumps,
        lambda message: json.dumps(message, indent=1),
        lambda message: json.dumps({"body": json.dumps(message)}),
    ],
)
async def test_a_chat_server_is_not_accused_for_how_it_writes(tmp_path: Path, write: Callable[[Any], str]) -> None:
    async with peers(rooms(write)) as server:
        code, out, err, report = await broadcast(tmp_path, server.url, "--threshold", "delivered==200")
    assert code == 0, out + err
    assert (report["checks"], report["counters"]["unrecognised"]) == (NONE, 0)


async def test_what_is_not_recognised_is_counted_and_shown(tmp_path: Path) -> None:
    async with peers(rooms(lambda message: json.dumps({"length": len(str(message))}))) as server:
        code, _, err, report = await broadcast(tmp_path, server.url, "--threshold", "lost==0")
    assert code == 99
    assert report["counters"]["unrecognised"] == 200
    assert '200 payloads not recognised; first: {"length": ' in err


async def test_a_server_that_replays_its_history_repeats_nothing(tmp_path: Path) -> None:
    history: list[str] = []
    async with peers(rooms(json.dumps, history)) as server:
        assert (await broadcast(tmp_path, server.url))[0] == 0
        assert len(history) == 20
        code, out, err, report = await broadcast(tmp_path, server.url, "--threshold", "delivered==200")
    assert code == 0, out + err
    assert report["checks"] == NONE
    assert report["counters"]["of_others"] == 10 * 20


ADAPTER = """
import asyncio, orjson
from loadtest.targets import Position, Target

class Mine(Target):
    HELP = "mine"
    async def subscribe(self, socket, topic, since=None):
        await socket.ask(topic, orjson.dumps({"do": "join", "room": topic}))
        return Position()
    async def publish(self, socket, topic, data):
        socket.send(orjson.dumps({"do": "say", "room": topic, "text": orjson.Fragment(data)}))
    async def ready(self, socket):
        pass
    def received(self, socket, payload):
        message = orjson.loads(payload)
        if "joined" in message:
            socket.answer(message["joined"], message)
"""


@pytest.mark.parametrize("processes", ["2"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("        return Position()", "        return {}['missing']"),
        ("        socket.send(", "        {}['missing'](" ),
        ("        pass", "        {}['missing']"),
        ("        message = orjson.loads(payload)", "        message = {}['missing']"),
        ('    HELP = "mine"', "    def __init__(self, endpoint): {}['missing']"),
        ('    HELP = "mine"', "    {}['missing']"),
    ],
)  # fmt: skip
async def test_an_adapter_that_raises_is_reported_with_its_line(
    tmp_path: Path, before: str, after: str, processes: str
) -> None:
    broken = ADAPTER.replace(before, after, 1)
    assert broken != ADAPTER
    number = broken[: broken.index("['missing']")].count("\n") + 1
    path = tmp_path / "mine.py"
    path.write_text(broken)
    async with peers(rooms(json.dumps)) as server:
        code, _, err = await run(*loadtest(
            "broadcast", "--target", str(path), "--url", server.url, "--clients", "4", "--duration", "1", "--processes", processes,
        ), within=60)  # fmt: skip
    assert code == (2 if after.startswith("    {}") else 1)
    assert f"KeyError: 'missing' ({path}, line {number}: " in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("text", "said"),
    [("x = (", "SyntaxError"), ("x = 1", "it has none"), ("from loadtest.targets import Target\nclass A(Target): ...\nclass B(A): ...", "A, B")],
)  # fmt: skip
async def test_a_file_that_is_not_an_adapter_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    code, _, err = await run(*loadtest("connect", "--target", str(path)))
    assert code == 2
    assert said in err


async def test_an_adapter_that_never_returns_is_given_up(tmp_path: Path) -> None:
    stuck = ADAPTER.replace("        pass", "        await asyncio.Event().wait()")
    async with peers(rooms(json.dumps)) as server:
        code, _, err, _ = await broadcast(tmp_path, server.url, "--answer-timeout", "0.5", target=stuck)
    assert code == 1
    assert "no answer within 0.5 s" in err


async def test_a_publish_that_is_refused_is_not_called_lost(tmp_path: Path) -> None:
    refusing = ADAPTER.replace(
        "        socket.send(",
        "        if data.startswith(b'{\"n\":5,'):\n            raise ConnectFailed('publish: 500')\n        socket.send(",
    ).replace("import Position, Target", "import Position, Target\nfrom loadtest.sockets import ConnectFailed")
    async with peers(rooms(json.dumps)) as server:
        code, _, _, report = await broadcast(
            tmp_path, server.url, "--threshold", "made/intended>0.9", target=refusing
        )
    assert code == 0
    assert (report["checks"], report["errors"]) == (NONE, {"publish: 500": 1})


async def test_a_blocking_adapter_is_not_waited_for(tmp_path: Path) -> None:

    blocking = ADAPTER.replace("        pass", "        import time; time.sleep(3600)")
    (tmp_path / "mine.py").write_text(blocking)
    code = "import loadtest.supervisor as s, sys; s._SILENCE, s._PATIENCE = 2.0, 1.0; from loadtest.command import main; sys.exit(main(sys.argv[1:]))"
    async with peers(rooms(json.dumps)) as server:
        found, _, err = await run(
            sys.executable, "-c", code, "broadcast", "--target", str(tmp_path / "mine.py"), "--url", server.url, "--clients", "2",
            within=60,
        )  # fmt: skip
    assert found == 1
    assert "worker 0 has said nothing for 2 s" in err


async def test_the_tutorial_is_true(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "loadtest.md").read_text()
    (tmp_path / "chat.py").write_text(text.split("```py\n")[1].split("```")[0])
    command = shlex.split(text.split("```sh\n")[1].split("```")[0].replace("\\\n", "").partition("&\n")[2])
    async with listening(sys.executable, str(tmp_path / "chat.py"), "0") as server:
        arguments = [argument.replace("ws://127.0.0.1:9001", server.url) for argument in command[3:]]
        code, out, err = await run(*loadtest(*arguments))
    assert code == 0, out + err
    assert re.search(r"^delivered +2,000$", out, re.MULTILINE)
    assert out.endswith("verdict: passed\n")
