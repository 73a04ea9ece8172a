"""The account of what came: told against a plain recount of every delivery."""

from hypothesis import given
from hypothesis import strategies as st

from loadtest.ledger import Checks, Ledger


def account(events: list[tuple[int, int]], newest: int) -> Checks:
    checks = Checks()
    ledger = Ledger(checks, 1)
    for first, count in events:
        ledger.run(first, count)
    ledger.close(newest)
    return checks


def test_all_well() -> None:
    assert account([(1, 5), (6, 1)], 6) == Checks()


def test_each_trouble_has_its_count() -> None:
    assert account([(1, 3)], 5) == Checks(lost=2)
    assert account([(1, 1), (3, 1)], 3) == Checks(lost=1)
    assert account([(1, 2), (2, 1)], 2) == Checks(repeated=1)
    assert account([(1, 1), (3, 1), (2, 1)], 3) == Checks(reordered=1)


def test_a_gap_is_announced_and_not_lost() -> None:
    checks = Checks()
    ledger = Ledger(checks, 1)
    ledger.run(1, 1)
    ledger.gap(2, 4)
    ledger.run(5, 1)
    ledger.close(5)
    assert checks == Checks(gapped=3)


@given(arrivals=st.lists(st.integers(1, 12), max_size=30), newest=st.integers(0, 12))
def test_any_sequence_of_arrivals_is_counted_like_a_recount(arrivals: list[int], newest: int) -> None:
    checks = account([(offset, 1) for offset in arrivals], newest)
    seen: set[int] = set()
    highest = repeated = reordered = 0
    for offset in arrivals:
        if offset in seen:
            repeated += 1
        elif offset < highest:
            reordered += 1
        seen.add(offset)
        highest = max(highest, offset)
    missing = set(range(1, max(newest, highest) + 1)) - seen
    assert (checks.repeated, checks.reordered, checks.lost) == (repeated, reordered, len(missing))
