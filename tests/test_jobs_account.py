"""The account of ``./x bench jobs --only kills``: which promises were broken."""

from typing import Any

import pytest

from bench.jobs.account import Account, Asked

DONE = ("queued", "started", "done")


def account(effects: tuple[float, ...] = (11.0,), **job: Any) -> Account:
    made = Account()
    made.jobs["one"] = Asked(**{"kind": "run", "due": 10.0, "ids": {"1-a"}, "events": DONE, **job})
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
        ("early", (10.0, 9.9), {}),
        ("after_cancel", (11.0,), {"cancelled": 12.0}),
        ("after_cancel", (12.1,), {"cancelled": 12.0, "events": ("queued", "cancelled")}),
        ("after_cancel", (10.5,), {"kind": "call", "cancelled": 5.0, "events": ("queued", "cancelled")}),
        (
            "after_cancel",
            (23.1,),
            {"cancelled": 12.0, "stopping": True, "events": ("queued", "started", "cancelled")},
        ),
        (
            "after_cancel",
            (13.0, 23.5),
            {"cancelled": 12.0, "stopping": True, "events": ("queued", "started", "cancelled")},
        ),
        ("failed", (11.0,), {"events": ("queued", "started", "failed"), "error": "exception"}),
        ("failed", (11.0,), {"events": ("queued", "started", "failed"), "error": "lost"}),
        ("failed", (), {"events": ("queued", "started", "failed"), "error": "exception"}),
    ],
)
def test_a_promise_that_is_broken_is_found(rule: str, effects: tuple[float, ...], job: dict[str, Any]) -> None:
    assert account(effects, **job).broken == {rule: ["one"]}


def test_a_job_that_was_done_after_its_cancel_and_has_no_effect_breaks_both_promises() -> None:
    made = account((), kind="call", cancelled=5.0, events=DONE)
    assert made.broken == {"without_effect": ["one"], "after_cancel": ["one"]}


@pytest.mark.parametrize(("effects", "again"), [((11.0, 12.0), 1), ((), 0)])
def test_an_effect_that_is_repeated_and_three_lost_attempts_are_counted(
    effects: tuple[float, ...], again: int
) -> None:
    made = account(effects, events=("queued", *("started", "retry") * 2, "started", "failed"), error="lost")
    assert (made.broken, made.again, made.given_up) == ({}, again, 1)


@pytest.mark.parametrize("began", [12.1, 13.0, 23.0])
def test_a_function_that_ran_may_go_on_for_a_while_after_its_cancel(began: float) -> None:
    cancelled = ("queued", "started", "cancelled")
    assert account((began,), cancelled=12.0, stopping=True, events=cancelled).broken == {}


def test_a_job_that_was_cancelled_before_it_began_has_no_effect_and_breaks_nothing() -> None:
    made = account((), kind="call", cancelled=5.0, events=("queued", "cancelled"))
    assert (made.broken, made.again, made.given_up) == ({}, 0, 0)


def test_a_job_may_begin_at_the_moment_at_which_it_is_due_and_again_later() -> None:
    made = account((10.0,))
    assert (made.broken, made.again) == ({}, 0)
    made.effect("one", 11.0)
    assert (made.broken, made.again) == ({}, 1)


def test_only_the_job_that_broke_a_promise_is_named() -> None:
    made = account((10.0,))
    made.jobs["two"] = Asked("run", 1.0, {"5"}, events=DONE)
    assert made.broken == {"without_effect": ["two"]}
