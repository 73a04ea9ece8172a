"""Where a stream is, against real topics: each offset comes once and in order, or its loss is reported."""

from hypothesis import given
from hypothesis import strategies as st

from service.client.cursor import Cursor
from service.client.values import Gap, Position, Restart
from service.core.topics import topic as core


def test_starts_from_the_same_place_are_not_reported() -> None:
    cursor = Cursor("newest")
    assert cursor.since == "newest"
    assert cursor.start("e", 7) is None
    assert cursor.since == Position("e", 7)  # type: ignore[comparison-overlap]
    assert cursor.start("e", 7) is None


def test_another_epoch_and_an_offset_that_never_was_are_reported() -> None:
    assert Cursor(Position("old", 3)).start("e", 0) == Restart("e", 0)
    assert Cursor(Position("e", 9)).start("e", 2) == Restart("e", 2)
    assert Cursor(None).start("e", 2) is None


def test_what_was_delivered_is_skipped_and_what_is_missing_is_a_gap() -> None:
    cursor = Cursor("oldest")
    cursor.start("e", 2)
    assert cursor.message(3) == (True, None)
    assert cursor.message(3) == (False, None)
    assert cursor.message(1) == (False, None)
    assert cursor.message(6) == (True, Gap(4, 5))
    assert cursor.gap(5, 9) == Gap(7, 9)
    assert cursor.gap(5, 9) is None
    assert cursor.message(10) == (True, None)


events = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 12)),
    st.tuples(st.just("deliver"), st.integers(1, 12)),
    st.tuples(st.just("cut"), st.just(0)),
    st.tuples(st.just("restart"), st.just(0)),
)


@given(st.lists(events, max_size=60))
def test_any_history_gives_each_offset_once_and_in_order_or_a_gap(history: list[tuple[str, int]]) -> None:
    epochs = iter(range(1_000))

    def anew() -> core.Topic:
        return core.Topic("t", f"e{next(epochs)}", core.RingLimits(messages=5))

    topic, cursor, reported = anew(), Cursor("oldest"), list[tuple[str, int, int] | Restart]()
    began: list[Restart] = []
    reading: int | None = None

    def subscribe() -> int:
        since = cursor.since
        start = topic.start(core.Position(since.epoch, since.offset) if isinstance(since, Position) else "oldest")
        restart = cursor.start(start.position.epoch, start.position.offset)
        if restart:
            reported.append(restart)
        elif not began:
            began.append(Restart(start.position.epoch, start.position.offset))
        return start.position.offset

    def tell(gap: Gap | None) -> None:
        if gap:
            reported.append((topic.epoch, gap.first, gap.last))

    for what, count in history:
        if what == "publish":
            for _ in range(count):
                topic.ring.append(b"1", 0.0)
        elif what == "cut":
            reading = None
        elif what == "restart":
            topic, reading = anew(), None
        else:
            reading = subscribe() if reading is None else reading
            if reading + 1 < topic.first:
                tell(cursor.gap(reading + 1, topic.first - 1))
                reading = topic.first - 1
            for offset in range(reading + 1, min(topic.head, reading + count) + 1):
                new, gap = cursor.message(offset)
                tell(gap)
                assert new
                reported.append((topic.epoch, offset, offset))
                reading = offset
    position = began[0] if began else None
    for entry in reported:
        assert position is not None
        if isinstance(entry, Restart):
            assert entry.epoch != position.epoch, "a restart that was none"
            position = entry
        else:
            assert entry[:2] == (position.epoch, position.offset + 1)
            position = Restart(entry[0], entry[2])
