"""The options of a run: everything that is wrong is said at once, before anything is started."""

from argparse import Namespace
from pathlib import Path

import pytest

from loadtest import mixed
from loadtest.command import SCENARIOS, main


def reported(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(str(ended.code))
    assert code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("broadcast", "--clients", "0"), "--clients: must be above 0"),
        (("broadcast", "--rate", "fast"), "'fast' is not like 100"),
        (("broadcast", "--rate", ""), "--rate: needed"),
        (("broadcast", "--threshold", "p99"), "delivery_p99_ms<250"),
        (("broadcast", "--url", "ftp://x"), "is not an http, https, ws or wss URL"),
        (("broadcast", "--url", "http://h:99999"), "is not a URL"),
        (("connect", "--header", "A b: c"), "is not like Name: value"),
        (("connect", "--header", "A: b\nc"), "control character"),
        (("connect", "--header", "Upgrade: x"), "set by the handshake"),
        (("connect", "--token", "x", "--token-file", "y"), "there is a --token, too"),
        (("connect", "--token", "x", "--header", "authorization: y"), "give one of them"),
        (("connect", "--token-env", "NO_SUCH_VARIABLE"), "no variable NO_SUCH_VARIABLE"),
        (("connect", "--token-file", "/nowhere"), "/nowhere cannot be read"),
        (("connect", "--url", "https://h", "--ca", "/nowhere"), "--ca: /nowhere"),
        (("connect", "--url", "https://h", "--ca", "/dev/zero"), "--ca: /dev/zero"),
        (("connect", "--url", "https://h", "--cert", "/nowhere"), "--cert: /nowhere"),
        (("broadcast", "--warm-up", "99"), "--warm-up: from 0"),
        (("broadcast", "--header", "nocolon"), "--header"),
        (("broadcast", "--processes", "9", "--clients", "3"), "--processes: more than clients"),
        (("resume", "--target", "sse", "--publishers", "2"), "--publishers: one"),
        (("connect", "--url", "http://a", "--url", "http://b"), "argument --url: is given twice"),
        (("connect", "--csv", "x", "--html", "./x"), "--csv: x is the file of --html, too"),
        (("connect", "--start-at", "2026-01-01T00:00:00Z"), "s ago by the clock of this machine"),
        (("resume", "--target", "stomp"), "stomp can take part in"),
        (("broadcast", "--recognise", "$.a"), "--recognise: has no place with the target sluice"),
        (("broadcast", "--target", "chat", "--recognise", "$.a[*]"), "is not a path such as"),
        (("broadcast", "--target", "chat", "--recognise", "("), "is not a regular expression"),
        (("connect", "--metrics-port", "70000"), "--metrics-port: from 0 to 65535"),
        (("watch", "--target", "nchan"), "nchan can take part in broadcast"),
        (("watch", "--every", "0"), "--every: from 1"),
        (("resume", "--roaming", "1"), "--roaming: between 0 and 1"),
        (("slow-readers", "--slow", "0"), "--slow: between 0 and 1"),
        (("fetch", "--urls", "0"), "--urls: must be above 0"),
        (("echo", "--size", "1"), "--size: from 16"),
        (("mixed",), "--plan: needed"),
        (("capacity", "broadcast"), "--threshold: needed"),
        (("capacity", "broadcast", "--threshold", "lost==0", "--rounds", "3"), "--rounds"),
        (("connect", "--threshold", "tls_p99_ms<5"), "there is no TLS to http://127.0.0.1:8080"),
        (("capacity", "echo", "--target", "nchan", "--threshold", "errors==0"), "not in echo"),
        (("nonsense",), "invalid choice"),
        (("broadcast", "--no-such-option"), "unrecognized arguments: --no-such-option"),
    ],
)
def test_what_is_wrong_is_said(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str) -> None:
    assert said in reported(capsys, *arguments)


def test_all_of_it_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    said = reported(capsys, "broadcast", "--clients", "0", "--duration", "-1", "--threshold", "x", "--topics", "0")
    assert [line.split(":")[0] for line in said.splitlines()] == [
        "--clients", "--duration", "--threshold", "--topics",
    ]  # fmt: skip


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_has_help(capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert SCENARIOS[name].HELP.split(":")[0][:30] in " ".join(capsys.readouterr().out.split())


def options(clients: int = 100) -> Namespace:
    return Namespace(
        clients=clients,
        duration=5.0,
        settle=1.0,
        target="sluice",
        scenario="mixed",
        rate="10",
        run="r",
        user_rows=[],
    )


def test_clients_are_shared_out_by_weight_and_none_is_left() -> None:
    plan = options(100)
    assert mixed.share_out(plan, [
        {"scenario": "broadcast", "weight": 1, "rate": 5},
        {"scenario": "idle", "weight": 1},
        {"scenario": "echo", "weight": 1, "duration": 3},
    ]) == []  # fmt: skip
    assert [part["clients"] for part in plan.parts] == [33, 34, 33]
    assert [part["rate"] for part in plan.parts] == ["5", "10", "1000"]
    assert [part["duration"] for part in plan.parts] == [5.0, 5.0, 3]
    assert plan.parts[0]["prefix"] == "loadtest-0"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([{"scenario": "nothing"}], "scenario is one of"),
        ([{"scenario": "mixed"}], "scenario is one of"),
        ([{"scenario": "idle", "colour": 1}], "idle has no option colour"),
        ([{"scenario": "idle", "weight": 0}], "one of them above 0"),
        ([{"scenario": "idle", "weight": "much"}], "a weight is a number"),
        ([{"scenario": "broadcast", "topics": 0}], "--topics: must be above 0 (part 1)"),
    ],
)
def test_a_bad_part_is_named(parts: list[dict[str, object]], said: str) -> None:
    assert said in " ".join(mixed.share_out(options(), parts))


def test_a_part_that_the_target_cannot_take_part_in_is_named() -> None:
    plan = options()
    plan.target = "centrifugo"
    (wrong,) = mixed.share_out(plan, [{"scenario": "broadcast"}, {"scenario": "resume"}, {"scenario": "fetch"}])
    assert "not in fetch (part 3)" in wrong


@pytest.mark.parametrize(
    ("text", "said"), [("[[part", "is not TOML"), ("x = 1", "has [[part]]"), ("", "has [[part]]")]
)
def test_a_bad_plan_is_said(tmp_path: Path, text: str, said: str) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(text)
    assert said in mixed.validate(Namespace(plan=str(plan)))[0]
    assert "cannot be read" in mixed.validate(Namespace(plan=str(tmp_path / "nowhere")))[0]
