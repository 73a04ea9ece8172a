"""The account of ``./x bench jobs --only kills``: which promises it finds broken."""

from typing import Any

import pytest

from bench.jobs.account import Account, Asked

DONE = ("queued", "started", "done")


def account(effects: tuple[float, ...] = (11.0,), **job: Any) -> Account:
    made = Account()
    made.jobs["one"] = Asked("run", 10.0, **{"ids": {"1-a"}, "events": DONE, **job})
    for at in effects:
        made.effect("one", at)
    return made


@pytest.mark.parametrize("events", [DONE, ("queued", "started", "progress", "retry", "started", "done")])
def test_a_job_that_ran_and_ended_once_breaks_nothing(events: tuple[str, ...]) -> None:
    made = account(events=events)
    assert (made.broken, made.again, made.given_up) == ({}, 0, 0)


@pytest.mark.parametrize(
    ("rule", "effects", "job"),
    [
        ("several", (11.0,), {"ids": {"1-a", "2-b"}}),
        ("lost", (11.0,), {"events": ()}),
        ("ends", (11.0,), {"events": ("queued", "started")}),
        ("ends", (11.0,), {"events": (*DONE, "done")}),
        ("ends", (11.0,), {"events": (*DONE, "progress")}),
        ("ends", (11.0,), {"events": ("queued", *DONE)}),
        ("without_effect", (), {}),
        ("early", (9.9, 11.0), {}),
        ("after_cancel", (11.0,), {"cancelled": 12.0}),
        ("after_cancel", (12.1,), {"cancelled": 12.0, "events": ("queued", "cancelled")}),
        (
            "after_cancel",
            (23.1,),
            {"cancelled": 12.0, "stopping": True, "events": ("queued", "started", "cancelled")},
        ),
        ("failed", (11.0,), {"events": ("queued", "started", "failed"), "error": "exception"}),
        ("failed", (11.0,), {"events": ("queued", "started", "failed"), "error": "lost"}),
    ],
)
def test_a_promise_that_is_broken_is_found(rule: str, effects: tuple[float, ...], job: dict[str, Any]) -> None:
    assert account(effects, **job).broken == {rule: ["one"]}


def test_an_effect_that_is_repeated_and_three_lost_attempts_are_counted() -> None:
    made = account((11.0, 12.0), events=("queued", *("started", "retry") * 2, "started", "failed"), error="lost")
    assert (made.broken, made.again, made.given_up) == ({}, 1, 1)


def test_a_function_that_ran_may_go_on_for_a_while_after_its_cancel() -> None:
    cancelled = ("queued", "started", "cancelled")
    assert account((12.1,), cancelled=12.0, stopping=True, events=cancelled).broken == {}
