"""A reader starts where the contract says."""

import pytest

from service.core.topics.topic import Position, RingLimits, Start, Topic


@pytest.mark.parametrize(
    ("since", "start"),
    [
        ("newest", Start(Position("e1", 25), recovered=False)),
        ("oldest", Start(Position("e1", 15), recovered=False)),
        (Position("e1", 25), Start(Position("e1", 25), recovered=True)),
        (Position("e1", 15), Start(Position("e1", 15), recovered=True)),
        (Position("e1", 14), Start(Position("e1", 14), recovered=False)),
        (Position("e1", 0), Start(Position("e1", 0), recovered=False)),
        (Position("e1", 26), Start(Position("e1", 15), recovered=False)),
        (Position("e0", 20), Start(Position("e1", 15), recovered=False)),
    ],
)
def test_a_reader_starts_where_the_contract_says(since: Position, start: Start) -> None:
    topic = Topic("t", "e1", RingLimits(messages=10))
    for number in range(1, 26):
        topic.ring.append(b"%d" % number, now=float(number))
    assert topic.position == Position("e1", 25)
    assert topic.start(since) == start


def test_a_position_is_written_as_clients_send_it() -> None:
    assert str(Position("e1", 7)) == "e1:7"
