"""What ``./x bench jobs`` says of a run: its account finds each kind of broken promise, its table fits the page."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.durability.figure import Figure
from bench.jobs.account import Account, Asked
from bench.jobs.command import FIGURES
from bench.jobs.figure import share

DOCUMENT = Path(__file__).parents[1] / "docs" / "jobs.md"
DONE = ("queued", "started", "done")


def whole() -> Account:
    """Return the account of a run in which all is as promised."""
    account = Account()
    account.jobs["done"] = Asked("run", 10.0, {"1"}, events=DONE)
    account.jobs["cancelled"] = Asked("call", 10.0, {"2"}, cancelled=5.0, events=("queued", "cancelled"))
    stopped = ("queued", "started", "cancelled")
    account.jobs["stopped"] = Asked("run", 10.0, {"3"}, cancelled=12.0, stopping=True, events=stopped)
    account.jobs["given up"] = Asked("run", 10.0, {"4"}, events=("queued", "started", "failed"), error="lost")
    account.effect("done", 10.0)
    account.effect("stopped", 13.0)
    return account


def test_a_run_that_is_right_breaks_no_promise() -> None:
    account = whole()
    assert (account.broken, account.again, account.given_up) == ({}, 0, 1)
    account.effect("done", 11.0)
    assert (account.broken, account.again) == ({}, 1)


@pytest.mark.parametrize(
    ("rule", "spoil"),
    [
        ("several", lambda account: account.jobs["done"].ids.add("9")),
        ("lost", lambda account: setattr(account.jobs["done"], "events", None)),
        ("ends", lambda account: setattr(account.jobs["done"], "events", (*DONE, "done"))),
        ("ends", lambda account: setattr(account.jobs["done"], "events", DONE[:2])),
        ("ends", lambda account: setattr(account.jobs["done"], "events", ())),
        ("ends", lambda account: setattr(account.jobs["done"], "events", ("queued", *DONE))),
        ("without_effect", lambda account: account.jobs.update(idle=Asked("run", 1.0, {"5"}, events=DONE))),
        ("early", lambda account: account.effect("done", 9.9)),
        ("after_cancel", lambda account: account.effect("cancelled", 10.5)),
        ("after_cancel", lambda account: account.effect("stopped", 23.5)),
        ("after_cancel", lambda account: setattr(account.jobs["cancelled"], "events", DONE)),
        ("failed", lambda account: setattr(account.jobs["given up"], "error", "exception")),
    ],
)
def test_each_broken_promise_is_found(rule: str, spoil: Callable[[Account], object]) -> None:
    account = whole()
    spoil(account)
    assert rule in account.broken


def test_the_table_has_its_place_in_the_document() -> None:
    cells = Figure("due: x", "y", "1 ms", bar="z", held=False).cells("2026-11-27")
    written = FIGURES.written(DOCUMENT.read_text(), [cells], "a machine")
    assert FIGURES.rows_of(written)["due: x"] == cells
    assert cells[-2] == "**missed**"


def test_a_share_is_one_of_the_values() -> None:
    assert [share(range(1, 101), part) for part in (0.5, 0.99, 1.0)] == [51, 100, 100]
