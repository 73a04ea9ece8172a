"""Long tests begin first, in all workers."""

from tests.dealing import dealt

SECONDS = {"a": 0, "b": 7, "c": 0, "d": 90, "e": 0, "f": 20, "g": 0, "h": 0}


def test_each_worker_begins_with_its_share_of_the_longest_and_the_others_keep_their_order() -> None:
    assert "".join(dealt("abcdefgh", SECONDS.__getitem__, 1)) == "dfbacegh"
    assert "".join(dealt("abcdefgh", SECONDS.__getitem__, 2)) == "dbac" + "fegh"
    assert "".join(dealt("abcdefgh", SECONDS.__getitem__, 3)) == "da" + "fce" + "bgh"
    assert sorted(dealt("abcdefgh", SECONDS.__getitem__, 5)) == list("abcdefgh")
