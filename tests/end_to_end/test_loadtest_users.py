"""Users like in life: each with a token and a path, messages of one's own, rates that rise and fall."""

from pathlib import Path

import orjson

from tests.end_to_end.peers import Peer, echo, peers
from tests.end_to_end.processes import ROOT, loadtest, run


async def test_users_messages_and_stages(tmp_path: Path) -> None:
    users, messages, path = tmp_path / "users.csv", tmp_path / "messages", tmp_path / "r.json"
    users.write_text("token,path,header.X-Name\ns3cret-one,/a?x=1,ann\ns3cret-two,/b,bob\n")
    messages.write_text('{"text":"first"}\nsecond\n')
    joined: list[Peer] = []
    bodies: list[object] = []

    def talk(peer: Peer, payload: bytes) -> None:
        message = orjson.loads(payload)
        if message["type"] == "join":
            joined.append(peer)
            return
        bodies.append(message["data"]["body"])
        for one in joined:
            one.send(payload)

    async with peers(talk) as server:
        code, out, err = await run(*loadtest(
            "broadcast", "--target", "chat", "--url", server.url, "--clients", "4", "--users", str(users), "--messages",
            str(messages), "--stage", "1s:20", "--stage", "1s:0", "--threshold", "delivered==80", "--json", str(path),
        ))  # fmt: skip
    assert code == 0, out + err
    upgrades = [head for head in server.heads if "Sec-WebSocket-Key" in head]
    ann = [head for head in upgrades if head.startswith("GET /a?x=1 ")]
    assert len(ann) == len(upgrades) - len(ann) == 2
    assert all("Authorization: Bearer s3cret-one\r\n" in head and "X-Name: ann\r\n" in head for head in ann)
    assert bodies == [{"text": "first"}, "second"] * 10
    report = orjson.loads(path.read_bytes())
    assert report["counters"]["intended"] == report["counters"]["made"] == 20
    assert "s3cret" not in path.read_text() + out + err


async def test_stages_and_users_that_are_wrong_are_refused() -> None:
    for options, said in (
        (("idle", "--stage", "1s:5"), "--stage: has no place in idle"),
        (("echo", "--stage", "fast"), "is not like 30s:1000"),
        (("echo", "--users", "/nowhere"), "--users: /nowhere cannot be read"),
        (("broadcast", "--messages", "/nowhere"), "--messages: /nowhere cannot be read"),
    ):
        code, _, err = await run(*loadtest(*options))
        assert (code, said in err) == (2, True), err


async def test_a_scenario_from_a_file_has_its_own_figures(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "loadtest.md").read_text()
    mine = tmp_path / "mine.py"
    mine.write_text(text.split("```python\n")[2].split("```")[0])
    options = ("--target", "echo", "--clients", "4", "--rate", "40", "--duration", "0.5", "--processes", "2")
    async with peers(echo) as server:
        for first in ((str(mine),), ("--scenario", str(mine))):
            code, out, err = await run(*loadtest(
                *first, "--url", server.url, *options, "--threshold", "answered==20", "--threshold", "answer_p50_ms<5000",
            ))  # fmt: skip
            assert code == 0, out + err
        code, _, err = await run(*loadtest(str(mine), "--url", server.url, *options, "--threshold", "answred==20"))
        assert (code, "did you mean answered?" in err) == (2, True)
        mine.write_text(mine.read_text().replace('tally.count("asked")', 'tally["asked"]'))
        code, _, err = await run(*loadtest(str(mine), "--url", server.url, *options))
    assert code == 1
    assert 'line 15: tally["asked"])' in err
    assert "Traceback" not in err


async def test_a_file_that_is_not_a_scenario_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("x = 1\n")
    (tmp_path / "wrong.py").write_text("x = (\n")
    for name, said in (
        ("empty.py", "has no function run(context)"),
        ("wrong.py", "SyntaxError"),
        ("no.py", "there is no file"),
    ):
        code, _, err = await run(*loadtest(str(tmp_path / name)))
        assert (code, said in err) == (2, True), err
