"""Who reads which topic, and who publishes there: known to every worker before anybody is connected."""

from argparse import Namespace

__all__ = ["TopicPlan"]


class TopicPlan:
    """The topics of a run: those that its users name, or ``--topics`` that the clients share out."""

    def __init__(self, options: Namespace, run: str) -> None:
        self._options = options
        self._users = [user["topics"] for user in options.user_rows[: options.clients]]
        self._given = any(self._users)
        named = dict.fromkeys(topic for topics in self._users for topic in topics)
        self.topics = list(named) or [f"{options.prefix}/{run}{number}" for number in range(options.topics)]

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
        clients = self._options.clients
        if not self._given:
            return range(self.topics.index(topic), clients, len(self.topics))
        return [number for number in range(clients) if topic in self.topics_of(number)]
