"""Memory is asked for where it is taken."""

from service.core.memory_budget import UNLIMITED, MemoryBudget


def test_what_is_left_is_measured_now_and_then_and_what_is_taken_is_counted_between() -> None:
    now, used, looks = 1.0, 100, 0

    def measure() -> int:
        nonlocal looks
        looks += 1
        return used

    budget = MemoryBudget(1000, measure, lambda: now)
    assert budget.reserve(500)
    assert not budget.reserve(301)
    assert budget.reserve(300)
    assert not budget.reserve(1)
    assert budget.has(0)
    assert not budget.has(1)
    assert looks == 1
    now = 1.05
    assert budget.reserve(800), "it was given back meanwhile"
    assert looks == 2
    now, used = 1.1, 950
    assert not budget.has(0)
    assert not budget.reserve(0)


def test_without_a_limit_there_is_always_room() -> None:
    assert UNLIMITED.reserve(1 << 60)
    assert UNLIMITED.has(1 << 60)
