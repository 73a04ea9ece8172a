"""The account of what came, compared with a plain recount of every delivery."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from loadtest.ledger import FaultCounts, Ledger


def account(events: list[tuple[int, int]], newest: int) -> FaultCounts:
    faults = FaultCounts("t")
    ledger = Ledger(faults, 1)
    for first, count in events:
        ledger.run(first, count)
    ledger.close(newest)
    return faults


def test_all_well() -> None:
    assert account([(1, 5), (6, 1)], 6).counts == Counter()


def test_each_trouble_has_its_count_and_its_place() -> None:
    assert account([(1, 3)], 5).places == {("lost", 4, 5): 1}
    assert account([(1, 1), (3, 1)], 3).places == {("lost", 2, 2): 1}
    assert account([(1, 2), (2, 1)], 2).places == {("repeated", 2, 2): 1}
    assert account([(1, 1), (3, 1), (2, 1)], 3).places == {("reordered", 2, 2): 1}
    assert account([(1, 3)], 5).counts == {"lost": 2}


def test_each_reader_has_its_share_of_the_trouble() -> None:
    faults = FaultCounts("t")
    for number in (3, 4):
        ledger = Ledger(faults, 1, number)
        ledger.run(1, number)
        ledger.close(5)
    assert faults.clients == {("lost", 3): 2, ("lost", 4): 1}


def test_readers_with_the_same_trouble_share_its_place() -> None:
    faults = FaultCounts("t")
    for _ in range(3):
        Ledger(faults, 1).close(2)
    assert (faults.places, faults.counts) == ({("lost", 1, 2): 3}, {"lost": 6})


def test_a_gap_is_announced_and_not_lost() -> None:
    faults = FaultCounts("t")
    ledger = Ledger(faults, 1)
    ledger.run(1, 1)
    ledger.gap(2, 4)
    assert ledger.has(4)
    ledger.run(5, 1)
    ledger.close(5)
    assert (faults.counts, ledger.gaps) == ({"gapped": 3}, 1)


def test_a_leap_costs_nothing() -> None:
    faults = FaultCounts("t")
    ledger = Ledger(faults, 1)
    ledger.run(10**15, 1)
    ledger.close(10**15)
    assert faults.counts == {"lost": 10**15 - 1}
    assert not ledger.has(10**15)


@given(arrivals=st.lists(st.integers(1, 12), max_size=30), newest=st.integers(0, 12),
       gap=st.none() | st.tuples(st.integers(1, 12), st.integers(0, 5)), when=st.integers(0, 30))  # fmt: skip
def test_any_sequence_of_arrivals_is_counted_like_a_recount(
    arrivals: list[int], newest: int, gap: tuple[int, int] | None, when: int
) -> None:
    faults = FaultCounts("t")
    ledger = Ledger(faults, 1)
    seen: set[int] = set()
    reported: set[int] = set()
    highest = repeated = reordered = 0
    for place, offset in enumerate([*arrivals, 0]):
        if gap and place == min(when, len(arrivals)):
            first, last = gap[0], gap[0] + gap[1]
            ledger.gap(first, last)
            reported |= set(range(first, last + 1)) - seen
            highest = max(highest, last)
        if not offset:
            break
        ledger.run(offset, 1)
        if offset in seen or offset in reported:
            repeated += 1
        elif offset < highest:
            reordered += 1
        seen.add(offset)
        highest = max(highest, offset)
    ledger.close(newest)
    missing = set(range(1, max(newest, highest) + 1)) - seen - reported
    # What lies beyond the newest was never published: nothing is said of it.
    missing -= set(range(newest + 1, highest + 1))
    assert faults.counts == Counter(
        {kind: count for kind, count in
         {"repeated": repeated, "reordered": reordered, "lost": len(missing), "gapped": len(reported)}.items() if count}
    )  # fmt: skip
