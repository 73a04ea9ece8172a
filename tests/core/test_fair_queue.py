"""Turns of owners by cost, and the order of each owner's own items."""

from collections import Counter

from service.core.owner import Owner
from service.core.rotation import FairQueue

A, B, C = Owner("a"), Owner("b"), Owner("c")


def served(queue: FairQueue[str], cost: int) -> str:
    """Serve the next item."""
    item = queue.first.items.popleft()
    queue.spend(cost)
    return item


def drained(queue: FairQueue[str], cost: int = 1) -> str:
    order = ""
    while queue:
        order += served(queue, cost)
    return order


def test_one_owner_alone_is_served_in_its_order() -> None:
    queue: FairQueue[str] = FairQueue(2)
    for item in "abcdefg":
        queue.put(A, item)
    assert len(queue) == 7
    assert drained(queue, 5) == "abcdefg"
    assert repr(queue) == "<FairQueue 0 waiting, of 0 owners>"


def test_owners_take_turns_each_in_its_own_order() -> None:
    queue: FairQueue[str] = FairQueue(2)
    for item in "123456":
        queue.put(A, item)
    for item in "xyz":
        queue.put(B, item)
    assert drained(queue) == "12xy34z56"


def test_a_newcomer_has_its_turn_after_that_of_one_other_owner_however_much_waits() -> None:
    queue: FairQueue[str] = FairQueue(10)
    for _ in range(1000):
        queue.put(A, "a")
    for _ in range(3):
        served(queue, 1)
    queue.put(B, "b")
    assert drained(queue).index("b") == 7


def test_what_costs_more_than_a_turn_is_paid_for_with_turns_that_are_sat_out() -> None:
    queue: FairQueue[str] = FairQueue(10)
    costs = {"L": 95, "s": 5}
    for _ in range(5):
        queue.put(A, "L")
    for _ in range(300):
        queue.put(B, "s")
    spent: Counter[str] = Counter()
    for _ in range(100):
        [item, *_] = queue.first.items
        spent[item] += costs[item]
        served(queue, costs[item])
    # Each got about half, though an item of the one costs 19 times that of the other.
    assert abs(spent["L"] - spent["s"]) <= 95 + 10


def test_what_is_charged_without_being_taken_out_stays_the_first_of_its_owner() -> None:
    queue: FairQueue[str] = FairQueue(1)
    queue.put(A, "a")
    queue.put(B, "b")
    queue.spend(1)
    assert [*queue.first.items] == ["b"]
    queue.spend(1)
    assert [*queue.first.items] == ["a"]
    queue.spend(0)
    assert [*queue.first.items] == ["a"]


def test_the_credit_of_a_line_is_what_is_left_of_its_turn() -> None:
    queue: FairQueue[str] = FairQueue(10)
    for item in "123":
        queue.put(A, item)
    queue.put(B, "b")
    assert (queue.first.owner, queue.first.credit) == (A, 10)
    del queue.first.items[0]
    queue.spend(4)
    assert (queue.first.owner, queue.first.credit) == (A, 6)
    del queue.first.items[0]
    queue.spend(6)
    assert (queue.first.owner, queue.first.credit) == (B, 10)


def test_three_owners_share_alike_in_any_order_of_coming() -> None:
    queue: FairQueue[str] = FairQueue(3)
    for owner, item in ((A, "a"), (B, "b"), (C, "c")):
        for _ in range(100):
            queue.put(owner, item)
    first = Counter(served(queue, 1) for _ in range(90))
    assert first == {"a": 30, "b": 30, "c": 30}


def test_debts_end_with_the_others() -> None:
    queue: FairQueue[str] = FairQueue(1)
    queue.put(A, "a")
    queue.put(A, "a")
    queue.put(B, "b")
    served(queue, 10**9)
    assert drained(queue) == "ba"


def test_a_line_that_is_set_aside_waits_until_it_is_brought_back() -> None:
    queue: FairQueue[str] = FairQueue(2)
    for item in "1234":
        queue.put(A, item)
    for item in "xyz":
        queue.put(B, item)
    line = queue.set_aside()
    assert line.owner == A
    assert served(queue, 1) == "x"
    queue.restore(line)
    assert drained(queue) == "y12z34"


def test_it_says_who_waits_and_whether_that_is_one_alone() -> None:
    queue: FairQueue[str] = FairQueue(2)
    queue.put(A, "a")
    assert (A in queue, B in queue, queue.alone) == (True, False, True)
    queue.put(B, "b")
    assert (A in queue, B in queue, queue.alone) == (True, True, False)
    assert drained(queue) == "ab"
    assert (A in queue, queue.alone) == (False, False)
