"""What ``./x bench durability`` says of a run: its account finds each kind of broken promise, its tables fit the page."""

from pathlib import Path

import pytest

from bench.delays import percentile
from bench.durability.account import Account, Place
from bench.durability.command import FIGURES, PEERS
from bench.durability.fetches import _is_exact

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
URLS = ["http://a/", "http://b/"]


def place(offset: int, epoch: str = "e") -> Place:
    return Place("t", epoch, offset)


def whole(count: int = 10) -> Account:
    """Return the account of messages 1 to ``count``, acknowledged and received."""
    account = Account()
    for number in range(1, count + 1):
        account.acknowledge(f"k{number}", place(number))
        account.receive("reader", f"k{number}", place(number))
    return account


def found(account: Account, head: int = 10) -> tuple[int, ...]:
    newest = {"t": place(head)}
    lost = account.missed("reader"), account.gone("reader", newest, 5)
    return (*map(len, lost), account.moved, account.twice, account.conflicts, account.disordered)


def test_a_run_that_is_right_has_nothing_wrong() -> None:
    assert found(whole()) == (0, 0, 0, 0, 0, 0)


def test_what_was_acknowledged_and_is_not_there_is_lost() -> None:
    account = whole()
    account.acknowledge("gone", place(11))
    assert found(account, 11)[:2] == (1, 1)


def test_a_message_that_the_ring_has_given_up_is_missed_and_not_gone() -> None:
    account = whole()
    account.acknowledge("old", place(0))
    assert found(account)[:2] == (1, 0)


def test_a_message_of_an_older_epoch_is_gone() -> None:
    account = whole()
    account.acknowledge("before", place(99, "before"))
    assert found(account)[:2] == (1, 1)


def test_a_repetition_at_its_place_is_right_and_elsewhere_is_a_second_message() -> None:
    account = whole()
    account.acknowledge("k3", place(3))
    assert found(account) == (0, 0, 0, 0, 0, 0)
    account.acknowledge("k3", place(11))
    assert found(account, 11)[2] == 1


def test_a_reader_that_gets_a_message_again_or_late_is_noticed() -> None:
    account = whole()
    account.receive("reader", "k9", place(9))
    assert found(account)[2:] == (0, 1, 0, 1)


def test_two_contents_of_one_place_are_noticed() -> None:
    account = whole()
    account.receive("other", "another", place(4))
    assert account.conflicts == 1


def event(index: int) -> dict[str, object]:
    return {"event": "result", "index": index, "url": URLS[index]}


DONE = {"event": "done", "ok": 2}


@pytest.mark.parametrize(
    ("events", "exact"),
    [
        ([event(1), event(0), DONE], True),
        ([event(1), event(1), DONE], False),
        ([event(0), DONE], False),
        ([event(0), DONE, event(1)], False),
        ([event(0), event(1), DONE, DONE], False),
        ([event(0), event(1), {"event": "done", "ok": 1}], False),
        ([], False),
    ],
)
def test_a_batch_is_exact_with_one_result_of_each_url_and_done_at_the_end(
    events: list[dict[str, object]], exact: bool
) -> None:
    assert _is_exact(events, URLS) is exact


def test_a_percentile_of_a_histogram_is_interpolated() -> None:
    looks = {1.0: 50.0, 2.0: 100.0, float("inf"): 100.0}
    assert percentile(looks, 0.5) == 1.0
    assert percentile(looks, 0.75) == 1.5


def test_the_tables_of_the_page_have_rows_of_their_parts() -> None:
    text = DOCUMENT.read_text()
    for table in (FIGURES, PEERS):
        assert table.written(text, [], "here") != text, "the page has a place for it"
        for name, cells in table.rows_of(text).items():
            assert len(cells) == len(table.heads), name
            table.place(name)
