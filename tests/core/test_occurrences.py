"""How often what happens again and again is logged."""

from service.core.occurrences import Occurrences


def test_the_first_is_logged_at_once_and_the_others_as_their_number() -> None:
    now = 0.0
    some = Occurrences(lambda: now, 60.0)
    assert [some.happened() for _ in range(3)] == [1, 0, 0]
    now = 59.9
    assert some.happened() == 0
    now = 60.0
    assert some.happened() == 4
    assert some.happened() == 0
