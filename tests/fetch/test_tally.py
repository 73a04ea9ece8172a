"""Counts, the exit code, the summary and the bar."""

import os
import re

import pytest

from service.commands.fetch.output import OutputWriter
from service.commands.fetch.progress import ProgressDisplay
from service.commands.fetch.tally import DEFAULT_FAIL_ON, Tally, fail_conditions, shown


def tally(*statuses: int, failures: tuple[str, ...] = ()) -> Tally:
    made = Tally(len(statuses) + len(failures))
    for number, status in enumerate(statuses):
        made.answer(status, f"list:{number}: http://h/{number}")
    for kind in failures:
        made.failure(kind, "http://h/", "because")  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    ("text", "statuses", "failures", "meets"),
    [
        (DEFAULT_FAIL_ON, (200, 204, 304), (), False),
        (DEFAULT_FAIL_ON, (200, 404), (), True),
        (DEFAULT_FAIL_ON, (503,), (), True),
        (DEFAULT_FAIL_ON, (200,), ("timeout",), True),
        ("none", (404, 500), ("dns",), False),
        ("", (404, 500), ("dns",), False),
        ("any", (404,), (), True),
        ("failed", (404, 500), (), False),
        ("failed", (200,), ("dns",), True),
        ("5xx", (404,), ("dns",), False),
        ("404, 5xx", (404,), (), True),
        ("404,5xx", (403,), (), False),
        ("Timeout", (), ("timeout",), True),
        ("timeout", (), ("dns",), False),
        ("3xx", (304,), (), True),
    ],
)
def test_what_makes_a_run_fail(
    text: str, statuses: tuple[int, ...], failures: tuple[str, ...], meets: bool
) -> None:
    assert tally(*statuses, failures=failures).meets(fail_conditions(text)) is meets


@pytest.mark.parametrize("text", ["everything", "6xx", "40", "4xx;5xx", "200-300"])
def test_conditions_that_mean_nothing_are_named(text: str) -> None:
    with pytest.raises(ValueError, match=f"--fail-on: '{text}'"):
        fail_conditions(text)


def test_the_summary_counts_by_status_and_kind_with_three_examples() -> None:
    made = tally(*[200] * 1500, *[404] * 5, 799, failures=("timeout", "timeout", "dns"))
    assert made.table(None) == [
        "      1,500  200 OK",
        "          5  404 Not Found",
        *(f"             list:{number}: http://h/{number}" for number in (1500, 1501, 1502)),
        "          1  799",
        "             list:1505: http://h/1505",
        "          2  timeout",
        *["             http://h/: because"] * 2,
        "          1  dns",
        "             http://h/: because",
    ]
    assert max(map(len, made.table(20))) == 20
    counts = made.counts()
    assert (counts["ok"], counts["failed"], counts["errors_4xx"], counts["errors_5xx"]) == (1506, 3, 5, 1)


def test_nothing_that_a_terminal_obeys_is_shown() -> None:
    assert shown("a\x1b[31m\n\u202eb") == "a\\x1b[31m\\x0a\\x202eb"
    made = Tally(1)
    made.failure("invalid_url", "http://h/\x1b]0;x\x07", "no")
    assert "\x1b" not in "".join(made.table(None))


@pytest.mark.parametrize("width", [20, 40, 79, 119, 200])
def test_the_bar_fits(width: int) -> None:
    made = tally(*[200] * 30, *[500] * 10, failures=("dns",) * 5)
    made.total, made.skipped, made.bytes = 1_000_000, 400_000, 5 << 30
    line = ProgressDisplay(made, None, bar=True).line(width)
    assert len(line) <= width
    if width >= 79:
        for part in (" 40%", "400,045/1,000,000", "/s", "5.0 GiB", "5 failed", "10 HTTP errors", "left"):
            assert part in line, line


@pytest.mark.parametrize(("columns", "room"), [(0, 79), (5, 19), (40, 39), (200, 199)])
async def test_a_terminal_whose_width_nobody_has_set_has_80_columns(
    monkeypatch: pytest.MonkeyPatch, columns: int, room: int
) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((columns, 0)))
    read, write = os.pipe()
    output = OutputWriter(write)
    progress = ProgressDisplay(tally(*[200] * 30), output, bar=True)
    monkeypatch.setattr(progress, "line", lambda width: f"{width}")
    progress._update()
    output.close()
    assert os.read(read, 100) == f"\r{room}\x1b[K".encode()
    os.close(read)
    os.close(write)


def test_the_end_says_what_is_left() -> None:
    read, write = os.pipe()
    output = OutputWriter(write)
    made = tally(200, 404)
    made.total, made.skipped = 10, 1
    ProgressDisplay(made, output, bar=False).end(hint="Go on.")
    output.close()
    os.close(write)
    text = os.read(read, 10_000).decode()
    os.close(read)
    assert re.search(
        r"^1 fetched, 1 HTTP errors, 0 failed, 1 already saved, 7 not done; 0 B in [0-9.]+ s$",
        text,
        re.MULTILINE,
    )
    assert text.endswith("Go on.\n")
    ProgressDisplay(made, None, bar=False).end(hint="")
