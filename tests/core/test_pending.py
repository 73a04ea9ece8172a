"""An answer comes once, to all who wait for it, as a value or as an error."""

from collections.abc import Callable
from functools import partial

import pytest

from service.core.pending import Pending, gather, when_known


def test_listeners_hear_in_their_order_and_late_ones_at_once() -> None:
    pending: Pending[int] = Pending()
    heard: list[object] = []
    pending.on_settled(lambda value: heard.append(("first", value)))
    pending.on_settled(lambda value: heard.append(("second", value)))
    assert repr(pending) == "<Pending>"
    pending.settle(7)
    pending.on_settled(lambda value: heard.append(("late", value)))
    assert heard == [("first", 7), ("second", 7), ("late", 7)]
    assert repr(pending) == "<Pending: 7>"
    with pytest.raises(RuntimeError, match="settled twice"):
        pending.settle(8)


def test_a_listener_that_raises_does_not_keep_it_from_others() -> None:
    pending: Pending[int] = Pending()
    heard: list[object] = []
    pending.on_settled(lambda _: 1 / 0)
    pending.on_settled(lambda _: int("x"))
    pending.on_settled(heard.append)
    with pytest.raises(ZeroDivisionError):
        pending.settle(1)
    assert heard == [1]


def wait(inner: Pending[int], value: int) -> Pending[int]:
    if value < 0:
        raise ValueError(value)
    return inner


def test_steps_follow_each_other_and_errors_pass_them_by() -> None:
    outcomes: list[tuple[int | Exception, object]] = [(2, "5"), (LookupError("no"), LookupError), (-1, ValueError)]
    for outcome, expected in outcomes:
        pending: Pending[int] = Pending()
        inner: Pending[int] = Pending()

        heard: list[object] = []
        step: Callable[[int], Pending[int]] = partial(wait, inner)
        second: Pending[int] = pending.then(step)
        second.then(str).on_settled(heard.append)
        pending.settle(outcome)
        inner.settle(5)
        assert expected in (heard[0], type(heard[0]))


def test_a_step_for_all_outcomes_hears_of_errors_too() -> None:
    pending: Pending[int] = Pending()
    heard: list[object] = []
    pending.always(repr).on_settled(heard.append)
    pending.settle(LookupError("no"))
    assert heard == ["LookupError('no')"]


def test_what_is_gathered_comes_in_the_order_of_the_items() -> None:
    first: Pending[int] = Pending()
    second: Pending[int] = Pending()
    heard: list[object] = []
    gather([1, first, 2, second]).on_settled(heard.append)
    second.settle(4)
    assert heard == []
    error = LookupError("no")
    first.settle(error)
    assert heard == [[1, error, 2, 4]]
    gather([1, 2]).on_settled(heard.append)
    assert heard[1] == [1, 2]


def test_what_is_known_is_not_waited_for() -> None:
    heard: list[object] = []
    when_known(1, heard.append)
    pending: Pending[int] = Pending()
    when_known(pending, heard.append)
    pending.settle(2)
    assert heard == [1, 2]


def test_it_says_whether_the_answer_is_known() -> None:
    answer: Pending[int] = Pending()
    assert not answer.known
    answer.settle(1)
    assert answer.known
