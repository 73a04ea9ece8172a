"""What visits took: each message by its own age, once for each reader that keeps up, and never for history."""

import pytest

from service.core.histogram import Histogram
from service.core.topics.hub import Hub, HubLimits
from service.core.topics.topic import OnLag
from service.core.topics.wire import Encoding
from tests.core.readers import FakeReader, Turns, make_hub


class Costly(FakeReader):
    """A write to it takes 10 ms."""

    def __init__(self, hub: Hub, turns: Turns, encoding: Encoding = Encoding.FRAMES) -> None:
        super().__init__(hub.own("t"), OnLag.DISCONNECT, encoding)
        self.turns = turns

    def visit(self) -> None:
        if not self.stuck:
            self.turns.now += 0.01
        super().visit()


def crowd(count: int, limits: HubLimits | None = None) -> tuple[Hub, Turns, list[Costly]]:
    turns = Turns()
    hub = make_hub(turns, limits)
    readers = [Costly(hub, turns) for _ in range(count)]
    for reader in readers:
        hub.attach(reader, "newest")
    return hub, turns, readers


def counted(histogram: Histogram) -> int:
    return sum(histogram.counts)


def test_the_deliveries_of_a_slice_lie_evenly_between_its_begin_and_its_end() -> None:
    hub, turns, _ = crowd(4, HubLimits(slice_readers=2))
    turns.now = 1.0
    hub.publish("t", b"1", 1.0)
    turns.settle()
    # Two readers by 1.02, two by 1.04.
    assert counted(hub.latency.delivery) == 4
    assert hub.latency.delivery.sum == pytest.approx(2 * 0.01 + 2 * 0.03)
    cumulative = dict(hub.latency.delivery.cumulative())
    assert (cumulative[0.01], cumulative[0.02], cumulative[0.03], cumulative[0.05]) == (1, 2, 3, 4)


def test_messages_of_one_write_have_their_own_ages() -> None:
    hub, turns, _ = crowd(1)
    for at in (1.0, 1.1, 1.2):
        hub.publish("t", b"1", at)
    turns.now = 1.3
    turns.settle()
    assert counted(hub.latency.delivery) == 3
    assert hub.latency.delivery.sum == pytest.approx(0.31 + 0.21 + 0.11)


@pytest.mark.parametrize("encoding", [Encoding.FRAMES, Encoding.EVENTS])
def test_a_round_in_slices_counts_each_message_once_for_each_reader(encoding: Encoding) -> None:
    turns = Turns()
    hub = make_hub(turns, HubLimits(slice_readers=2))
    for _ in range(6):
        hub.attach(Costly(hub, turns, encoding), "newest")
    hub.publish("t", b"1", turns.now)
    turns.turn()
    hub.publish("t", b"2", turns.now)  # the first two readers had their turn
    turns.turn()
    hub.publish("t", b"3", turns.now)
    turns.settle()
    assert counted(hub.latency.delivery) == 18


def test_a_slice_ends_by_time_too() -> None:
    hub, turns, readers = crowd(200)
    hub.publish("t", b"1", turns.now)
    taken = []
    while not taken or taken[-1] < 200:
        turns.turn()
        taken.append(sum(reader.offset for reader in readers))
    assert taken == [*range(16, 200, 16), 200]
    assert counted(hub.latency.delivery) == 200


def test_history_does_not_count_as_delivery_in_time() -> None:
    hub, turns, _ = crowd(1)
    for _ in range(10):
        hub.publish("t", b"1", 0.0)
    turns.settle()
    before = counted(hub.latency.delivery)
    turns.now = 200.0
    hub.attach(Costly(hub, turns), "oldest")
    turns.settle()
    assert counted(hub.latency.delivery) == before
    hub.publish("t", b"1", 200.0)
    turns.settle()
    assert counted(hub.latency.delivery) == before + 2
    assert hub.latency.delivery.sum < 1.0


def test_what_was_published_to_nobody_is_history_for_newcomers() -> None:
    turns = Turns()
    hub = make_hub(turns)
    hub.publish("t", b"1", 0.0)
    hub.attach(Costly(hub, turns), "oldest")
    turns.settle()
    assert counted(hub.latency.delivery) == 0


def test_a_reader_that_takes_nothing_counts_for_nothing() -> None:
    hub, turns, readers = crowd(2)
    readers[0].stuck = True
    hub.publish("t", b"1", 0.0)
    turns.settle()
    assert counted(hub.latency.delivery) == 1


def test_the_spread_is_from_the_first_reader_to_the_last_over_all_slices() -> None:
    hub, turns, _ = crowd(5, HubLimits(slice_readers=2))
    turns.now = 1.0
    hub.publish("t", b"1", 1.0)
    turns.settle()
    assert counted(hub.latency.spread) == 1
    assert hub.latency.spread.sum == pytest.approx(0.05)


def test_a_visit_of_one_has_no_spread() -> None:
    hub, turns, _ = crowd(1)
    turns.now = 1.0
    hub.publish("t", b"1", 1.0)
    turns.settle()
    assert counted(hub.latency.spread) == 0
