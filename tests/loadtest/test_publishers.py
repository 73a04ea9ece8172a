"""Who reads and publishes which topic, and that the time to plan 10,000 topics grows only with their number."""

from argparse import Namespace
from collections import Counter

import pytest

from loadtest.topics import Publishers, TopicPlan


class Numbered:
    """A client with what plans know of it."""

    def __init__(self, number: int) -> None:
        self.number = number


class CountingPlan(TopicPlan):
    """A plan of topics that counts the questions to it."""

    def __init__(self, options: Namespace) -> None:
        super().__init__(options, "")
        self.asked: Counter[str] = Counter()

    def topics_of(self, number: int) -> list[str]:
        self.asked["topics_of"] += 1
        return super().topics_of(number)


def options(clients: int, topics: int = 0, *users: list[str], apart: bool = False) -> Namespace:
    rows = [{"topics": user} for user in users]
    return Namespace(clients=clients, topics=topics, prefix="t", user_rows=rows, apart=apart)


def clients(*numbers: int) -> list[Numbered]:
    return [Numbered(number) for number in numbers]


@pytest.mark.parametrize(
    ("given", "here", "topic", "publisher", "expected"),
    [
        (options(6, 2), (0, 1, 2, 3, 4, 5), "t/1", 0, 1),
        (options(6, 2), (0, 1, 2, 3, 4, 5), "t/1", 2, 5),
        (options(6, 2), (0, 1, 2, 3, 4, 5), "t/1", 3, 1),
        # The planned publisher is in another process: another reader of the topic publishes.
        (options(6, 2), (0, 3, 5), "t/1", 0, 3),
        # The topic has no reader in this process, or none at all.
        (options(6, 2), (0, 2), "t/1", 1, 2),
        (options(2, 4), (0, 1), "t/3", 1, 1),
        (options(3, 0, ["a"], ["b"], ["b", "a"]), (0, 1, 2), "b", 1, 2),
        (options(3, 0, ["a"], ["b"], ["b", "a"]), (0, 1, 2), "a", 0, 0),
    ],
)
def test_a_topic_is_published_by_one_of_its_readers(
    given: Namespace, here: tuple[int, ...], topic: str, publisher: int, expected: int
) -> None:
    assert Publishers(TopicPlan(given, ""), clients(*here)).of(topic, publisher).number == expected


@pytest.mark.parametrize("users", [[], [[f"own/{number}"] for number in range(500)]], ids=["shared out", "named"])
def test_many_topics_do_not_each_look_through_all_clients(users: list[list[str]]) -> None:
    plan = CountingPlan(options(500, 500, *users))
    publishers = Publishers(plan, clients(*range(500)))
    found = [publishers.of(topic, 0).number for topic in plan.topics]
    assert found == [plan.reader_of(topic, 0) for topic in plan.topics] == list(range(500))
    assert [plan.worker_of(topic, 0, 2) for topic in plan.topics] == [0, 1] * 250
    assert plan.asked["topics_of"] <= 1000
