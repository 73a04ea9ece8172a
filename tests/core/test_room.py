"""Memory is asked for where it is taken."""

from service.core.room import ENDLESS, Room


def test_what_is_left_is_measured_now_and_then_and_what_is_taken_is_counted_between() -> None:
    now, used, looks = 1.0, 100, 0

    def measure() -> int:
        nonlocal looks
        looks += 1
        return used

    room = Room(1000, measure, lambda: now)
    assert room.reserve(500)
    assert not room.reserve(301)
    assert room.reserve(300)
    assert not room.reserve(1)
    assert room.has(0)
    assert not room.has(1)
    assert looks == 1
    now = 1.05
    assert room.reserve(800), "it was given back meanwhile"
    assert looks == 2
    now, used = 1.1, 950
    assert not room.has(0)
    assert not room.reserve(0)


def test_without_a_limit_there_is_always_room() -> None:
    assert ENDLESS.reserve(1 << 60)
    assert ENDLESS.has(1 << 60)
