"""Several machines begin together, and what was not made together is not added up."""

from argparse import Namespace
from datetime import UTC, datetime
from email.utils import format_datetime
from time import monotonic, time
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.clock import ServerClock, beginning, moment_text, parse_moment, settle_start
from loadtest.context import CannotRun, WorkerContext
from loadtest.same_run import check_same_run, timeline
from loadtest.tally import Tally
from loadtest.worker_link import WorkerLink


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1795771800", 1795771800.0),
        ("1795771800.25", 1795771800.25),
        ("2026-11-27T09:30:00Z", 1795771800.0),
        ("2026-11-27T10:30:00+01:00", 1795771800.0),
        ("2026-11-27 09:30:00.250+00:00", 1795771800.25),
    ],
)
def test_moments(text: str, seconds: float) -> None:
    assert parse_moment(text) == seconds
    assert parse_moment(moment_text(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2026-11-27T09:30:00", "has no zone"),
        ("09:30", "is not like"),
        ("soon", "is not like"),
        ("nan", "seconds since 1970"),
        ("5", "seconds since 1970"),
        ("1795771800000", "seconds since 1970"),
    ],
)
def test_invalid_moments_are_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_moment(text)


def test_a_start_that_is_over_or_would_drift_is_refused() -> None:
    def said(text: str, scenario: str = "broadcast", rounds: int = 1) -> str:
        return " ".join(settle_start(Namespace(start_at=text, scenario=scenario, rounds=rounds)))

    assert "s ago by the clock" in said(str(time() - 10))
    later = str(time() + 1000)
    assert said(later) == ""
    assert "drift apart" in said(later, rounds=2)
    assert "drift apart" in said(later, "capacity")
    assert beginning(0.0, 7.0) == 7.0


class Lonely:
    """A link of a worker that is alone."""

    index, count = 0, 1

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []

    async def meet(self, name: str, facts: Any) -> list[Any]:
        return [facts]

    def send(self, kind: str, value: Any) -> None:
        self.said.append((kind, value))


def context(start_at: float) -> WorkerContext:
    made = object.__new__(WorkerContext)
    made.options = Namespace(start_at=start_at, warm_up=0.0)
    made.link = cast("WorkerLink", Lonely())
    made.together, made.tally, made._alive = None, Tally(), [0]
    return made


async def test_a_load_begins_when_it_was_meant_to() -> None:
    at = time() + 100
    one = context(at)
    begin = await one.begin()
    assert begin == pytest.approx(monotonic() + at - time(), abs=0.5)
    assert cast("Lonely", one.link).said[0] == ("began", begin)
    with pytest.raises(CannotRun, match="the clients were ready 10.* s too late"):
        await context(time() - 10).begin()


@given(ahead=st.floats(-100, 100), moments=st.lists(st.floats(0, 5), min_size=1, max_size=30))
def test_dates_in_whole_seconds_close_in_on_the_difference(ahead: float, moments: list[float]) -> None:
    at = [1.8e9]
    clock = ServerClock(lambda: at[0])
    for moment in moments:
        at[0] += moment
        asked = at[0]
        at[0] += 0.01
        date = format_datetime(datetime.fromtimestamp(int(at[0] - ahead), UTC), usegmt=True)
        clock.observe(date, asked)
    found = clock.ahead
    assert found is not None
    assert found[0] - 0.02 <= ahead <= found[1] + 0.02
    assert found[1] - found[0] <= 1.03


def test_an_invalid_date_says_nothing() -> None:
    clock = ServerClock()
    for text in (None, "", "yesterday"):
        clock.observe(text, 0.0)
    assert clock.ahead is None


def of_machine(begin: float, seconds: float = 60.0, **load: Any) -> dict[str, Any]:
    times = {"began": moment_text(1.8e9 + begin), "ended": moment_text(1.8e9 + begin + seconds), "at_s": 2.0}
    return {"scenario": "broadcast", "load": {**times, **load}, "counters": {"made": 1}, "timeline": []}


def test_reports_that_ran_together_are_parts_of_one() -> None:
    assert check_same_run("ab", [of_machine(0), of_machine(0.5)]) == []


@pytest.mark.parametrize(
    ("reports", "said"),
    [
        ([of_machine(0), of_machine(0)], "a and b are the same report"),
        ([of_machine(0), {**of_machine(1), "scenario": "echo"}], "a is of broadcast and b of echo"),
        ([of_machine(90), of_machine(0)], "b had ended 30.0 s before a began"),
        ([of_machine(0), of_machine(90)], "a had ended 30.0 s before b began"),
        # By its own clock at the same time, and by the server's an hour later.
        ([of_machine(0), of_machine(1, ahead_of_server_s=[-3601, -3600])], "a had ended"),
    ],
)
def test_parts_of_different_runs_are_refused(reports: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_same_run("ab", reports)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (of_machine(30), "all of them ran together for 30.0 of 60.0 s only"),
        (of_machine(5, ahead_of_server_s=[5.0, 5.1]), "the clocks of a and b differ by 4.9 s at least"),
        (of_machine(1, clock_step_s=-3.0), "b: the clock was set by -3.0 s"),
        ({**of_machine(1), "load": {}}, "b does not say when its load was made"),
    ],
)
def test_what_has_to_be_known_is_said(other: dict[str, Any], said: str) -> None:
    (note,) = check_same_run("ab", [of_machine(0, ahead_of_server_s=[0.0, 0.1]), other])
    assert said in note


def test_seconds_are_added_up_from_the_begin_of_the_load() -> None:
    one, two = of_machine(0), of_machine(0, at_s=5.0)
    one["timeline"] = [{"at_s": 2.1, "made": 5, "clients": 10, "delivery_p99_ms": 3.0}]
    two["timeline"] = [
        {"at_s": 4.0, "clients": 10},
        {"at_s": 5.2, "made": 7, "clients": 10, "delivery_p99_ms": 9.0},
    ]
    assert timeline([one, two]) == [
        {"at_s": 0.0, "clients": 10},
        {"at_s": 1.0, "made": 12, "clients": 20, "delivery_p99_ms": 9.0},
    ]
