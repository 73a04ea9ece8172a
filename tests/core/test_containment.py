"""An error is contained to the item that it happened in, and is raised later, where it is logged."""

from collections.abc import Callable

import pytest

from service.core.containment import Containment


def test_an_error_is_reported_in_a_later_turn_and_the_next_item_is_done() -> None:
    later: list[Callable[[], object]] = []
    contain, done = Containment(later.append), []

    def act(number: int) -> None:
        if number == 1:
            raise ValueError("odd")
        done.append(number)

    assert [contain(act, number) for number in range(3)] == [True, False, True]
    assert done == [0, 2]
    assert len(later) == 1
    with pytest.raises(ValueError, match="odd"):
        later[0]()


def test_what_is_not_an_error_of_the_item_is_not_contained() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Containment(lambda _: None)(interrupted)
