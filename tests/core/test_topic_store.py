"""What every store of topics does, and the fake of one too."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from service.core.owner import SERVICE
from service.core.pending import Pending
from service.core.pieces import Pieces
from service.core.ports import KeptTopic, TopicStore
from service.core.topics.position import Position
from service.core.topics.reader_losses import ReaderLosses
from service.core.topics.topic import RingLimits, Topic
from tests.core.readers import make_store
from tests.core.stores import FakeStore

T = TypeVar("T")


class TopicStoreContract:
    """Subclasses make the store, and wait until it has answered what it was asked."""

    def make(self) -> TopicStore:
        raise NotImplementedError

    async def settle(self, store: TopicStore) -> None:
        """Return when the store has answered everything."""

    async def value(self, store: TopicStore, answer: T | Pending[T]) -> T:
        if not isinstance(answer, Pending):
            return answer
        outcomes: list[T | Exception] = []
        answer.on_settled(outcomes.append)
        assert not outcomes, "settled inside of the call"
        await self.settle(store)
        assert not isinstance(outcomes[0], Exception), outcomes[0]
        return outcomes[0]

    async def opened(self, store: TopicStore, name: str) -> Topic:
        kept: KeptTopic = await self.value(store, store.history(name, SERVICE))
        position = kept.position
        topic = Topic(name, position.epoch, RingLimits(), ReaderLosses(), head=position.offset - len(kept.messages))
        topic.ring.restore(kept.messages, kept.times)
        assert topic.head == position.offset
        return topic

    async def append(self, store: TopicStore, topic: Topic, data: bytes | Pieces, now: float = 0.0) -> Position:
        position = await self.value(store, store.append(topic, data, now, None))
        topic.ring.append(data, now)
        return position

    async def test_a_new_topic_has_an_epoch_of_its_own_and_nothing_else(self) -> None:
        store = self.make()
        assert not store.knows("a")
        kept = [await self.value(store, store.history(name, SERVICE)) for name in ("a", "b")]
        assert kept[0].position.epoch != kept[1].position.epoch
        assert all(0 < len(one.position.epoch) <= 64 and ":" not in one.position.epoch for one in kept)
        assert [(one.position.offset, list(one.messages), list(one.keys)) for one in kept] == [(0, [], [])] * 2

    async def test_offsets_are_consecutive_from_1_on(self) -> None:
        store = self.make()
        topic = await self.opened(store, "a")
        positions = [await self.append(store, topic, b"%d" % number) for number in range(5)]
        assert positions == [Position(topic.epoch, offset) for offset in range(1, 6)]

    async def test_a_message_in_pieces_is_one_message(self) -> None:
        store = self.make()
        topic = await self.opened(store, "a")
        assert (await self.append(store, topic, Pieces(b'"a', b'b"'))).offset == 1
        assert topic.ring.data(1) == b'"ab"'
        store.retire(topic, 0.0)
        again = (await self.opened(store, "a")).ring
        assert again.loaded > 1 or again.data(1) == b'"ab"'

    async def test_appends_that_wait_together_are_answered_in_order(self) -> None:
        store = self.make()
        topic = await self.opened(store, "a")
        offsets: list[int] = []
        for number in range(20):
            answer = store.append(topic, b"%d" % number, 0.0, None)
            if isinstance(answer, Pending):
                answer.on_settled(lambda position: offsets.append(position.offset))
            else:
                offsets.append(answer.offset)
                topic.ring.append(b"%d" % number, 0.0)
        await self.settle(store)
        assert offsets == list(range(1, 21))

    async def test_one_message_to_many_topics_has_a_position_in_each(self) -> None:
        store = self.make()
        topics = [await self.opened(store, name) for name in ("a", "b", "c")]
        await self.append(store, topics[1], b"0")
        positions: Sequence[Position] = await self.value(store, store.append_all(topics, b"1", 0.0))
        assert list(positions) == [
            Position(topic.epoch, offset) for topic, offset in zip(topics, (1, 2, 1), strict=True)
        ]

    async def test_a_topic_that_was_retired_goes_on_where_it_stood(self) -> None:
        store = self.make()
        topic = await self.opened(store, "a")
        for number in range(3):
            await self.append(store, topic, b"%d" % number)
        topic.ring.expire(1e9)
        store.retire(topic, 1.0)
        store.expire(2.0)
        assert store.knows("a")
        again = await self.opened(store, "a")
        assert again.position == Position(topic.epoch, 3)
        assert await self.append(store, again, b"3") == Position(topic.epoch, 4)

    async def test_a_topic_that_was_dropped_is_not_known_and_begins_anew(self) -> None:
        store = self.make()
        topic = await self.opened(store, "a")
        await self.append(store, topic, b"0")
        store.drop(topic)
        await self.settle(store)
        assert not store.knows("a")
        again = await self.opened(store, "a")
        assert again.epoch != topic.epoch
        assert (again.first, again.head) == (1, 0)

    async def test_times_of_expiry_do_not_matter_to_topics_in_use(self) -> None:
        store = self.make()
        topic = await self.opened(store, "a")
        offsets = []
        for now in (0.0, 10.0, 1e6):
            store.expire(now)
            offsets.append((await self.append(store, topic, b"0", now)).offset)
        assert all(later == earlier + 1 for earlier, later in pairwise(offsets))


class TestMemoryStore(TopicStoreContract):
    def make(self) -> TopicStore:
        return make_store()

    def test_nothing_is_durable(self) -> None:
        assert not self.make().durable("a")

    async def test_it_remembers_where_a_topic_stood_for_a_while(self) -> None:
        store = make_store()
        topic = await self.opened(store, "a")
        store.retire(topic, 0.0)
        assert repr(store) == "<MemoryStore 1 retired>"
        store.expire(61.0)
        assert not store.knows("a")
        assert repr(store) == "<MemoryStore 0 retired>"


class TestFakeStore(TopicStoreContract):
    def make(self) -> TopicStore:
        return FakeStore(late_history=True)

    async def settle(self, store: TopicStore) -> None:
        assert isinstance(store, FakeStore)
        store.settle()


class TestFakeStoreWithHistoryAtHand(TestFakeStore):
    def make(self) -> TopicStore:
        return FakeStore()
