"""Who reads which topic, and who publishes there: known to every worker before anybody is connected."""

from argparse import Namespace
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Generic, Protocol, TypeVar

__all__ = ["Publishers", "TopicPlan"]


class TopicPlan:
    """The topics of a run: those that its users name, or ``--topics`` that the clients share out."""

    def __init__(self, options: Namespace, run: str) -> None:
        self._options = options
        self._users = [user["topics"] for user in options.user_rows[: options.clients]]
        self._given = any(self._users)
        named = dict.fromkeys(topic for topics in self._users for topic in topics)
        self.topics = list(named) or [f"{options.prefix}/{run}{number}" for number in range(options.topics)]
        self._places = {topic: place for place, topic in enumerate(self.topics)}

    def topics_of(self, number: int) -> list[str]:
        """Return the topics of a client; one whose user has none takes the first."""
        if not self._given:
            return [self.topics[number % len(self.topics)]]
        return self._users[number % len(self._users)] or self.topics[:1]

    def reader_of(self, topic: str, publisher: int) -> int:
        """Return the number of the client that is a topic's publisher."""
        readers = self._readers(topic)
        return readers[publisher % len(readers)] if readers else publisher % self._options.clients

    def worker_of(self, topic: str, publisher: int, workers: int) -> int:
        """Return the worker that a topic's publisher belongs to."""
        return (publisher if self._options.apart else self.reader_of(topic, publisher)) % workers

    def _readers(self, topic: str) -> range | list[int]:
        if not self._given:
            return range(self._places[topic], self._options.clients, len(self.topics))
        return self._named_readers[topic]

    @cached_property
    def _named_readers(self) -> dict[str, list[int]]:
        """The clients of each topic, for topics that users name."""
        readers: defaultdict[str, list[int]] = defaultdict(list)
        for number in range(self._options.clients):
            for topic in dict.fromkeys(self.topics_of(number)):
                readers[topic].append(number)
        return readers


class _Numbered(Protocol):
    number: int


_Client = TypeVar("_Client", bound=_Numbered)


class Publishers(Generic[_Client]):
    """Which client of this process publishes to a topic: if possible, one that reads it.

    There may be ten thousand topics: to find the publisher of one, neither all clients nor all topics are searched.
    """

    def __init__(self, plan: TopicPlan, clients: Sequence[_Client]) -> None:
        self._plan = plan
        self._clients = clients
        self._by_number = {client.number: client for client in clients}
        self._readers: defaultdict[str, list[_Client]] = defaultdict(list)
        for client in clients:
            for topic in plan.topics_of(client.number):
                self._readers[topic].append(client)

    def of(self, topic: str, publisher: int) -> _Client:
        """Return the publisher of a topic with this number."""
        planned = self._by_number.get(self._plan.reader_of(topic, publisher))
        if planned is not None:
            return planned
        readers = self._readers.get(topic) or self._clients
        return readers[publisher % len(readers)]
