"""How ``./x bench rolling`` judges what a client has had: each thing that may be wrong is found."""

from typing import Any

import pytest

from bench.rolling import wrong
from bench.rolling_reader import Account
from service.client import Gap, Message, Position, Restart

ACCEPTED = [Position("e", offset) for offset in (1, 2, 3)] + [Position("f", 1), Position("g", 1), Position("g", 2)]
DUE = [Position("e", 2), Position("f", 1)]
WHOLE = [["e", "had", 1, 2], ["f", "had", 1, 1], ["g", "had", 1, 2]]


def judged(runs: list[list[Any]]) -> list[str]:
    return wrong({"runs": runs, "wrong": []}, ACCEPTED, DUE)


def test_all_that_is_due_was_received_or_is_gone() -> None:
    assert judged(WHOLE) == []
    assert judged([["e", "had", 1, 3], *WHOLE[1:]]) == []
    assert judged([["e", "had", 1, 1], ["e", "gone", 2, 2], *WHOLE[1:]]) == []


@pytest.mark.parametrize(
    ("runs", "named"),
    [
        ([["e", "had", 1, 1], *WHOLE[1:]], "e:2 is missing"),
        ([*WHOLE[:2], ["g", "had", 1, 1]], "g:2 is missing"),
        ([WHOLE[0], WHOLE[2]], "it has been to"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(runs: list[list[Any]], named: str) -> None:
    assert any(named in what for what in judged(runs))


def account(*values: Any) -> Account:
    made = Account()
    made.begin("e", 0)
    for value in values:
        made.handle(value)
    return made


def message(offset: int, epoch: str = "e") -> Message:
    return Message("t", epoch, offset, None)


def test_an_account_is_runs_of_offsets() -> None:
    had = account(message(1), message(2), Gap(3, 5), message(6), Restart("f", 2), message(3, "f"), message(4, "f"))
    assert had.wrong == []
    assert had.runs == [["e", "had", 1, 2], ["e", "gone", 3, 5], ["e", "had", 6, 6], ["f", "had", 3, 4]]


@pytest.mark.parametrize(
    "values",
    [
        (message(2),), (message(1), message(1)), (message(1), message(3)), (Gap(2, 3),), (message(1, "f"),),
        (message(1), Restart("e", 0)),
    ],
)  # fmt: skip
def test_what_came_twice_or_not_or_from_elsewhere_is_wrong(values: tuple[Any, ...]) -> None:
    assert account(*values).wrong
