"""A green run is never a lie: what was not made, not answered or not measured fails, and every run has an end."""

import asyncio
import signal
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.end_to_end.peers import Peer, echo, peers
from tests.end_to_end.processes import listening, loadtest, origin, run, service, start

FAULTY = str(Path(__file__).parent / "faulty.py")


class Page(HTMLParser):
    """The status on the page: in its title and in its heading."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tag = ""
        self.title = self.heading = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tag = tag if tag != "span" else self.tag

    def handle_data(self, data: str) -> None:
        if self.tag == "title" and not self.heading:
            self.title += data
        elif self.tag == "h1":
            self.heading += data


class Result:
    """What a run has left, in all of its forms."""

    def __init__(self, folder: Path, code: int | None, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        self.report: Any = orjson.loads((folder / "r.json").read_bytes())
        self.counters: dict[str, float] = self.report["counters"]
        page = Page((folder / "r.html").read_text())
        said = {page.title.partition(": ")[2], page.heading.partition(": ")[2], self.report["status"]}
        last = out.splitlines()[-1]
        assert last.startswith("verdict")
        # One status, wherever it is looked at.
        assert len(said) == 1, said
        self.status = said.pop()
        assert self.status in last
        assert {"passed": 0, "failed": 99, "interrupted": 1, "could not run": 1}[self.status] == code
        assert "Traceback" not in err


async def result(tmp_path: Path, *options: str, within: float = 60) -> Result:
    files = ("--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html"))
    return Result(tmp_path, *await run(*loadtest(*options, *files), within=within))


def counts(found: Result) -> tuple[float, ...]:
    return tuple(found.counters[name] for name in ("intended", "started", "made", "unanswered"))


async def test_an_echo_that_never_comes_is_counted_and_fails(tmp_path: Path) -> None:
    seen: list[bytes] = []

    def swallow(peer: Peer, payload: bytes) -> None:
        seen.append(payload)
        if len(seen) != 100:
            peer.send(payload)

    async with peers(swallow) as server:
        found = await result(tmp_path, "echo", "--target", "echo", "--url", server.url, "--clients", "2", "--rate", "200",
                             "--duration", "1", "--answer-timeout", "3")  # fmt: skip
    assert found.status == "failed"
    assert counts(found) == (200, 200, 199, 1)
    assert found.report["reasons"] == ["unanswered==0: 1"]


@pytest.mark.parametrize(
    "options",
    [("broadcast",), ("echo",), ("resume",), ("slow-readers",), ("churn",), ("connect",), ("connect", "--rate", "10"), ("idle",),
     ("watch", "--duration", "7"), ("fetch", "--via", "ws"), ("capacity", "echo", "--threshold", "errors==0")],
)  # fmt: skip
async def test_a_server_that_answers_nothing_ends_every_scenario(tmp_path: Path, options: tuple[str, ...]) -> None:
    async with peers(lambda peer, payload: None) as server:
        found = await result(
            tmp_path, *options, "--url", server.url, "--clients", "5", "--answer-timeout", "0.3", within=60
        )
    assert found.status == "could not run"
    assert found.counters["unanswered"] == 5
    assert "no answer within 0.3 s" in found.err


async def test_a_join_that_is_not_answered_is_one_reader_less(tmp_path: Path) -> None:
    joins: list[Any] = []

    def talk(peer: Peer, payload: bytes) -> None:
        request = orjson.loads(payload)
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"], "result": {}}
        if request["method"] == "subscribe":
            joins.append(peer)
            if len(joins) == 3:
                return
            answer["result"] = {"epoch": "e", "offset": 0, "recovered": False}
        if request["method"] == "publish":
            answer["result"] = {"offset": 1}
        peer.send(orjson.dumps(answer))

    async with peers(talk) as server:
        found = await result(tmp_path, "broadcast", "--url", server.url, "--clients", "10", "--rate", "5", "--duration", "0.5",
                             "--answer-timeout", "3", "--settle", "0.2")  # fmt: skip
    assert found.status == "failed"
    assert (found.counters["clients_intended"], found.counters["clients_ready"]) == (10, 9)


async def test_a_publisher_that_is_cut_off_has_not_made_its_load(tmp_path: Path) -> None:
    def talk(peer: Peer, payload: bytes) -> None:
        request = orjson.loads(payload)
        result: dict[str, Any] = {"epoch": "e", "offset": 0, "recovered": False}
        if request["method"] == "publish":
            peers_of.append(peer)
            result = {"offset": len(peers_of)}
            if len(peers_of) == 30:
                peer.close(4429, b"enough")
        peer.send(orjson.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}))

    peers_of: list[Peer] = []
    async with peers(talk) as server:
        found = await result(tmp_path, "broadcast", "--url", server.url, "--clients", "10", "--rate", "60", "--duration", "1",
                             "--settle", "0.2")  # fmt: skip
    assert found.status == "failed"
    assert counts(found)[0] == 60
    assert counts(found)[2] <= 30
    assert [finding["kind"] for finding in found.report["findings"]].count("load") == 1
    assert "load not made" in found.out


async def test_nothing_delivered_is_not_nothing_lost(tmp_path: Path) -> None:
    def talk(peer: Peer, payload: bytes) -> None:
        request = orjson.loads(payload)
        answer: dict[str, Any] = {
            "jsonrpc": "2.0",
            "id": request["id"],
            "result": {"epoch": "e", "offset": 0, "recovered": False},
        }
        if request["method"] == "publish":
            del answer["result"]
            answer["error"] = {"code": -32002, "message": "forbidden"}
        peer.send(orjson.dumps(answer))

    async with peers(talk) as server:
        found = await result(tmp_path, "broadcast", "--url", server.url, "--clients", "5", "--rate", "20", "--duration", "0.5",
                             "--threshold", "lost==0")  # fmt: skip
    assert found.status == "failed"
    assert "FAILED lost==0: not measured" in found.out
    assert found.counters["published"] == found.counters["delivered"] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("connect", "--threshold", "lost==0"), "connect does not measure 'lost'"),
        (("broadcast", "--threshold", "delivery_p99<250"), "did you mean delivery_p99_ms?"),
        (("broadcast", "--json", "/no/such/folder/r.json"), "--json: there is no folder /no/such/folder"),
        (("broadcast", "--html", "/"), "--html: / is a folder"),
        (("demo", "--html", "/no/such/folder/r.html"), "there is no folder"),
        (("broadcast", "--duration", "inf"), "--duration"),
        (("watch", "--duration", "3"), "--duration"),
    ],
)
async def test_what_cannot_be_measured_or_written_is_refused_before_the_run(
    options: tuple[str, ...], said: str
) -> None:
    async with peers(echo) as server:
        code, _, err = await run(*loadtest(*options, "--url", server.url))
        assert (code, server.heads) == (2, [])
    assert said in err


async def test_an_interrupt_is_neither_passed_nor_failed(tmp_path: Path) -> None:
    files = ("--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html"))
    async with peers(echo) as server:
        child = await start(*loadtest("echo", "--target", "echo", "--url", server.url, "--clients", "2", "--rate", "50",
                                      "--duration", "60", "--rounds", "3", "--threshold", "errors==0", *files))  # fmt: skip
        assert child.process.stderr is not None
        async with asyncio.timeout(60):
            while b"round_trips" not in await child.process.stderr.readline():
                pass
        child.process.send_signal(signal.SIGINT)
        out, err = await child.process.communicate()
    found = Result(tmp_path, child.process.returncode, out.decode(), err.decode())
    assert found.status == "interrupted"
    assert len(found.report["rounds"]) == 1
    assert found.counters["intended"] == 3000


async def test_a_server_that_dies_is_not_passed(tmp_path: Path) -> None:
    async with listening(
        sys.executable, FAULTY, "die", env={"PYTHONPATH": str(Path(FAULTY).parent.parent.parent)}
    ) as server:
        found = await result(tmp_path, "broadcast", "--url", server.url, "--clients", "10", "--rate", "100", "--duration", "20",
                             "--threshold", "lost==0", within=60)  # fmt: skip
    assert found.status == "could not run"
    assert found.counters["intended"] == 2000


async def test_a_bad_first_round_ends_the_rounds(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def slow_at_first(peer: Peer, payload: bytes) -> None:
        seen.append(payload)
        await asyncio.sleep(0.3 if len(seen) <= 10 else 0)
        peer.send(payload)

    async with peers(slow_at_first) as server:
        found = await result(tmp_path, "echo", "--target", "echo", "--url", server.url, "--clients", "10", "--rate", "20",
                             "--duration", "0.5", "--rounds", "3", "--abort-on-fail", "--threshold", "round_trip_max_ms<200")  # fmt: skip
    assert found.status == "failed"
    assert len(found.report["rounds"]) == 1
    assert found.report["reasons"][0].startswith("aborted after")


async def test_a_bad_round_fails_the_whole(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def slow_at_first(peer: Peer, payload: bytes) -> None:
        seen.append(payload)
        await asyncio.sleep(0.3 if len(seen) <= 10 else 0)
        peer.send(payload)

    async with peers(slow_at_first) as server:
        found = await result(tmp_path, "echo", "--target", "echo", "--url", server.url, "--clients", "10", "--rate", "20",
                             "--duration", "0.5", "--rounds", "3", "--threshold", "round_trip_p50_ms<200")  # fmt: skip
    assert found.report["latency_ms"]["round_trip"]["p50"] < 200
    assert found.status == "failed"
    assert "(round 1)" in found.report["reasons"][0]


async def test_a_fetch_without_a_service(tmp_path: Path) -> None:
    found = await result(tmp_path, "fetch", "--url", "http://127.0.0.1:1", "--urls", "10")
    assert found.status == "could not run"
    assert "no batch got to http://127.0.0.1:1" in found.err
    assert counts(found)[:3] == (10, 10, 0)


async def test_a_fetch_whose_urls_are_all_blocked(tmp_path: Path) -> None:
    async with origin() as upstream, service() as server:
        found = await result(tmp_path, "fetch", "--url", server.url, "--origin", upstream.url, "--urls", "20")
    assert found.status == "failed"
    assert counts(found) == (20, 20, 0, 0)
    assert found.counters["failed"] == 20


async def test_close_reasons_of_all_kinds_are_bounded(tmp_path: Path) -> None:
    def talk(peer: Peer, payload: bytes) -> None:
        reasons.append(payload)
        peer.close(4000, f"no {len(reasons)}".encode())

    reasons: list[bytes] = []
    async with peers(talk) as server:
        found = await result(tmp_path, "churn", "--url", server.url, "--clients", "50", "--rate", "300", "--duration", "3",
                             "--processes", "2", "--target", "sluice")  # fmt: skip
    assert found.status != "passed"
    assert len(found.report["errors"]) <= 101


async def test_reports_of_a_good_and_of_a_dead_server_are_not_the_same(tmp_path: Path) -> None:
    async with peers(echo) as server:
        options = ("echo", "--target", "echo", "--clients", "2", "--rate", "40", "--duration", "0.5")
        for name, url in (("good", server.url), ("dead", "http://127.0.0.1:1")):
            await run(*loadtest(*options, "--url", url, "--json", str(tmp_path / name)))
    code, out, _ = await run(*loadtest("compare", str(tmp_path / "good"), str(tmp_path / "dead")))
    assert code == 99
    assert "round_trip" in out.splitlines()[-1]
    assert "--url was" in out


async def test_quiet_says_nothing_of_a_run_that_passed(tmp_path: Path) -> None:
    async with peers(echo) as server:
        options = (
            "echo",
            "--target",
            "echo",
            "--url",
            server.url,
            "--clients",
            "2",
            "--rate",
            "20",
            "--duration",
            "0.5",
            "--quiet",
        )
        assert await run(*loadtest(*options, "--junit", str(tmp_path / "j.xml"))) == (0, "", "")
        code, out, _ = await run(*loadtest(*options, "--threshold", "round_trips>10"))
    assert code == 99
    assert out == "FAILED round_trips>10: 10\nverdict: failed: round_trips>10: 10\n"
    assert 'failures="0"' in (tmp_path / "j.xml").read_text()
