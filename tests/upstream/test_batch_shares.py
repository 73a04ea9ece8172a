"""Finished batches are found in the order in which they give way."""

from service.core.owner import Owner
from service.sources.batch_shares import BatchesByOwner
from tests.core.readers import FakeReader, Turns, make_hub
from tests.core.test_plan import batch_of

A, B = Owner("a"), Owner("b")


def test_the_oldest_of_each_owner_comes_first_but_for_those_that_are_read() -> None:
    hub, found = make_hub(Turns()), BatchesByOwner()
    old, new, other = [batch_of([], name=name, owner=owner) for name, owner in (("1", "a"), ("2", "a"), ("3", "b"))]
    for batch in (old, new, other):
        batch.topic = hub.log(batch.id)
        found.add(batch)
    assert ([*found.of(A)], [*found.of(B)]) == ([old, new], [other])
    assert (found.oldest_unread(A), found.oldest(A)) == (old, old)
    for batch in (old, other):
        hub.attach(FakeReader(batch.topic), "newest")
    assert (found.oldest_unread(A), found.oldest(A)) == (new, old)
    assert (found.oldest_unread(B), found.oldest(B)) == (None, other)


def test_an_owner_is_forgotten_with_its_last_batch() -> None:
    found = BatchesByOwner()
    first, second = batch_of([], name="1", owner="a"), batch_of([], name="2", owner="a")
    found.add(first)
    found.add(second)
    assert [found.remove(first), found.remove(first)] == [True, False]
    assert (found.oldest(A), repr(found)) == (second, "<BatchesByOwner of 1 owners>")
    assert found.remove(second)
    assert (found.oldest(A), found.oldest_unread(A), [*found.of(A)]) == (None, None, [])
    assert repr(found) == "<BatchesByOwner of 0 owners>"
