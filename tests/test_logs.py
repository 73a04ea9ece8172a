"""Logs reach their stream, and a stream that takes nothing holds up nobody."""

import asyncio
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.ops.logs import Logs, Redaction, complain, line_of, style_of
from service.ops.logs.throttle import Throttle
from service.runtime.supervisor import Supervisor


def written(what: Callable[[logging.Logger], object], **options: Any) -> list[str]:
    """Return the lines of what is logged meanwhile."""
    stream = io.StringIO()
    logs = Logs(stream, **options)
    logs.start()
    what(logging.getLogger("x"))
    logs.stop()
    return stream.getvalue().splitlines()


def fail(log: logging.Logger) -> None:
    try:
        raise RuntimeError("with\ntwo lines")
    except RuntimeError:
        log.exception("unhandled exception in a request", extra={"request_id": "r1"})


def test_an_event_is_one_line_of_text() -> None:
    (line,) = written(lambda log: log.warning("one %d", 1, extra={"client": "ws-1", "why": "two words"}))
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT[\d:.]+Z WARNING x: one 1 client=ws-1 why="two words"', line)


def test_an_event_is_one_object_of_json() -> None:
    (line,) = written(lambda log: log.info("one %d", 1, extra={"count": 2, "what": {3}}), style="json")
    event = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", event.pop("time"))
    assert event == {"level": "info", "logger": "x", "message": "one 1", "count": 2, "what": "{3}"}


def test_a_traceback_is_one_field() -> None:
    (line,) = written(fail, style="json")
    event = json.loads(line)
    assert event["request_id"] == "r1"
    assert event["exception"].startswith("Traceback")
    assert event["exception"].endswith("RuntimeError: with\ntwo lines\n")


def test_a_traceback_is_lines_of_text() -> None:
    lines = written(fail)
    assert lines[0].endswith("ERROR x: unhandled exception in a request request_id=r1")
    assert lines[1].startswith("    Traceback")


@pytest.mark.parametrize("style", ["text", "json"])
@pytest.mark.parametrize(
    "hostile", ["a\n2026-01-01T00:00:00Z ERROR sluice: forged\x1b[31m\u2028" + "x" * 100_000, "\udc80", "\x9b31m", '"='],
    ids=["long", "surrogate", "control", "quote"],
)  # fmt: skip
def test_what_a_client_sends_stays_on_its_line_and_is_bounded(style: Any, hostile: str) -> None:
    record = logging.makeLogRecord({"msg": "got %s", "args": (hostile,), "path": hostile})
    line = line_of(record, style, Redaction())
    assert len(line) < 6000
    assert line.endswith("\n")
    assert line[:-1].isprintable()


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_complaint_is_one_line(style: Any, capsys: pytest.CaptureFixture[str]) -> None:
    complain(style, "cannot start on a\n{}\x1b[31m\u2028")
    (line,) = capsys.readouterr().err.split("\n")[:-1]
    assert line.isprintable()
    assert "cannot start on a\\n{}" in line


def test_arguments_that_do_not_fit_lose_no_event() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "one %d", ("x",), None)
    assert line_of(record, "text", Redaction()).endswith("INFO x: one %d ('x',)\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdefgh12345", "Authorization: Bearer ***"),
        ("('Authorization', 'Basic dXNlcjpwYXNz')", "('Authorization', 'Basic ***')"),
        ("sluice.v1, bearer.abcdefgh12345", "sluice.v1, bearer.***"),
        ("http://user:pass@host/x?a=b", "http://***@host/x?a=b"),
        ("/x?access_token=abc&b=c", "/x?access_token=***&b=c"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl", "***"),
        ("it is very-secret-token!", "it is ***!"),
        (json.dumps('a "quoted\\secret"'), '"a ***"'),
        ("a valid bearer token is needed: short", "a valid bearer token is needed: short"),
    ],
)
def test_credentials_are_blackened(text: str, shown: str) -> None:
    assert Redaction(["very-secret-token", '"quoted\\secret"', "short", None])(text) == shown


def test_the_whole_line_is_blackened_tracebacks_too() -> None:
    def leak(log: logging.Logger) -> None:
        try:
            raise ValueError("token very-secret-token")
        except ValueError:
            log.exception("very-secret-token", extra={"header": "very-secret-token"})

    for style in ("text", "json"):
        lines = "\n".join(written(leak, style=style, secrets=["very-secret-token"]))
        assert "very-secret" not in lines
        assert lines.count("***") >= 3


def test_text_is_for_terminals_unless_something_else_is_wanted() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert (style_of("auto", Terminal()), style_of("json", Terminal())) == ("text", "json")
    assert (style_of("auto", io.StringIO()), style_of("text", io.StringIO())) == ("json", "text")
    assert style_of(None, io.StringIO()) == "json"


async def test_what_nobody_caught_is_an_event_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(Supervisor().on_loop_error)
    loop.call_soon(lambda: 1 // 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (record,) = caplog.records
    event = json.loads(line_of(record, "json", Redaction()))
    assert event["message"] == "unhandled exception in the event loop"
    assert "ZeroDivisionError" in event["exception"]
    assert "Handle" in event["where"]


def test_a_kind_has_so_many_lines_a_second_and_then_its_count() -> None:
    now = 100.0
    throttle = Throttle(3, lambda: now)
    assert [throttle.admit("a") for _ in range(5)] == [True] * 3 + [False] * 2
    assert throttle.admit("b")
    assert throttle.left_out() == {}
    now = 101.0
    assert throttle.left_out() == {"a": 2}
    assert throttle.left_out() == {}
    assert throttle.admit("a")


def test_a_flood_that_goes_on_is_logged_each_second() -> None:
    now = 100.0
    throttle = Throttle(1, lambda: now)
    for _ in range(3):
        throttle.admit("a")
    now = 101.0
    for _ in range(3):
        throttle.admit("a")
    assert throttle.left_out() == {"a": 2}
    assert throttle.left_out() == {}
    assert throttle.left_out(end=True) == {"a": 2}


def test_kinds_without_end_share_one() -> None:
    throttle = Throttle(1, lambda: 1.0)
    assert sum(throttle.admit(f"text {number}") for number in range(5000)) == 1001
    assert throttle.left_out(end=True) == {"other kinds": 3999}


def test_a_flood_of_one_kind_is_logged_as_a_number() -> None:
    def flood(log: logging.Logger) -> None:
        for number in range(500):
            log.warning("no %d", number)
        log.warning("another")

    lines = [json.loads(line) for line in written(flood, style="json", lines=10, clock=lambda: 1.0)]
    assert [line["message"] for line in lines[:11]] == [*(f"no {number}" for number in range(10)), "another"]
    assert (lines[11]["kind"], lines[11]["count"]) == ("x: no %d", 490)


def test_a_full_pipe_stops_nobody() -> None:
    others = set(threading.enumerate())
    read, write = os.pipe()
    stream = os.fdopen(write, "w")
    logs = Logs(stream, room=50, lines=1000)
    logs.start()
    for number in range(500):
        logging.getLogger("x").warning("%d %s", number, "x" * 2000)
    logs.stop()  # nobody reads: it comes back all the same

    writers = set(threading.enumerate()) - others
    lines: list[str] = []

    def read_all() -> None:
        with os.fdopen(read) as received:
            lines.extend(received)

    reader = threading.Thread(target=read_all)
    reader.start()
    for writer in writers:  # they end as soon as somebody does
        writer.join(10)
        assert not writer.is_alive()
    stream.close()
    reader.join(10)
    reported = sum(int(found[1]) for line in lines if (found := re.search(r"were dropped: .*count=(\d+)", line)))
    kept = sum("xxx" in line for line in lines)
    assert 1 <= kept < 150  # a pipe takes 32 of them, the queue 50
    assert kept + reported + logs.handler.dropped == 500


def test_the_lines_lost_are_counted_in_the_log() -> None:
    stream = io.StringIO()
    logs = Logs(stream)
    logs.handler.dropped = 7
    logs.start()
    logging.getLogger("x").warning("after")
    logs.stop()
    lines = stream.getvalue().splitlines()
    assert "lines were dropped: nobody read them count=7" in lines[0]
    assert "after" in lines[1]


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    class Disk(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    disk = Disk()
    logs = Logs(disk)
    logs.start()
    logging.getLogger("x").warning("lost")
    while not logs.handler.dropped:
        os.sched_yield()
    disk.full = False
    logging.getLogger("x").warning("after")
    logs.stop()
    assert re.search(r"count=1\n.*after", disk.getvalue())


RESERVED = {"time": 1, "level": "shed", "logger": "mine", "exception": "none"}


def test_a_line_that_the_disk_took_in_part_is_finished_or_ends_there(tmp_path: Path) -> None:
    """RLIMIT_FSIZE lets a write take what still fits, as a disk that fills up does."""
    path = tmp_path / "log"
    program = (
        "import os, resource, signal\n"
        "from service.ops.logs.writer import UnbufferedFile\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"fd = os.open({str(path)!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "file = UnbufferedFile(fd)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))\n"
        "file.write(b'first\\n')\n"
        "try:\n    file.write(b'second\\n')\n"
        "except OSError:\n    pass\n"
        "else:\n    raise SystemExit('it did not raise')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
        "file.write(b'third\\n')\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
    assert path.read_bytes() == b"first\nseco\nthird\n"


@pytest.mark.parametrize("style", ["json", "text"])
def test_particulars_do_not_overwrite_what_a_line_says_itself(style: Any) -> None:
    (line,) = written(lambda log: log.warning("overloaded", extra=RESERVED), style=style)
    if style == "text":
        assert " WARNING x: overloaded time_=1 level_=shed logger_=mine" in line
        return
    event = json.loads(line)
    assert (event["level"], event["logger"], event["message"]) == ("warning", "x", "overloaded")
    assert [event[f"{name}_"] for name in RESERVED] == list(RESERVED.values())


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


@pytest.mark.parametrize("style", ["json", "text"])
@pytest.mark.parametrize("value", [Unspeakable(), {1: Unspeakable()}])
def test_an_event_that_cannot_be_written_is_reported_and_harms_nobody(style: Any, value: Any) -> None:
    def log_it(log: logging.Logger) -> None:
        log.warning("odd", extra={"value": value})
        log.warning("next")

    first, second = written(log_it, style=style)
    assert "could not be written" in first
    assert "odd" in first
    assert "next" in second


def test_a_value_is_a_number_or_a_text() -> None:
    extra = {"a": float("nan"), "b": float("inf"), "c": [{"nested": "x" * 5000}], "d": None, "e": 1.5, "f": b"\xff"}
    event = json.loads(
        line_of(logging.makeLogRecord({"msg": "m", **extra}), "json", Redaction()), parse_constant=str
    )
    assert (event["a"], event["b"], event["e"], event["f"]) == ("nan", "inf", 1.5, "b'\\xff'")
    assert len(event["c"]) < 2100
    assert "d" not in event


def test_a_line_of_json_is_bounded_and_any_parser_takes_it() -> None:
    try:
        raise RuntimeError("\U0001f600" * 50_000)
    except RuntimeError as error:
        raised = (type(error), error, error.__traceback__)
    extra = {f"field_{number}": "\U0001f600" * 5000 for number in range(6)}
    record = logging.makeLogRecord({"msg": "m", "exc_info": raised, "where": "\udc80", **extra})
    line = line_of(record, "json", Redaction())
    assert len(line) <= 64 << 10
    assert orjson.loads(line)["where"] == "\\udc80"


def test_a_traceback_for_people_has_no_line_that_looks_like_an_event() -> None:
    try:
        raise RuntimeError("x\n2026-01-01T00:00:00Z INFO sluice: forged\x1b[31m")
    except RuntimeError as error:
        raised = (type(error), error, error.__traceback__)
    _, *more = line_of(logging.makeLogRecord({"msg": "m", "exc_info": raised}), "text", Redaction()).splitlines()
    assert all(line.startswith("    ") and line.isprintable() for line in more)
    assert any("forged" in line for line in more)
