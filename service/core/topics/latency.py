"""How long messages wait for their write: measured by the visits, a whole slice of readers at once.

A clock for each reader would cost every delivery. So a slice looks at the clock once, when its last reader has been
written to, and each message in it counts as often as readers got it, by its own age and as if they had got it one
after the other, evenly.
"""

from typing import Final

from service.core.histogram import Histogram
from service.core.topics.topic import Topic

__all__ = ["Latency"]

# In seconds. Loopback needs 0.3 ms for one client and 100 for ten thousand; finest where alarms are set.
_DELIVERY: Final = (0.0005, 0.001, 0.002, 0.0035, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15,
                    0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)  # fmt: skip
_SPREAD: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Latency:
    """What the visits of all topics took; times are in seconds."""

    def __init__(self) -> None:
        self.delivery = Histogram(_DELIVERY)
        """From the publish of a message to its write, once for each reader that keeps up."""
        self.spread = Histogram(_SPREAD)
        """From the first to the last reader of a visit of two or more."""

    def slice(self, topic: Topic, visited: int, taken: int, begin: float, end: float) -> None:
        """Count a slice that brought ``visited`` readers ``taken`` messages between two times.

        Who keeps up lacked what came since its last visit. What a reader got beyond that is history, of
        which nobody expects that it is written as soon as it is published.
        """
        times = topic.ring.times
        fresh = topic.ring.head - max(topic.visit.head_before, topic.ring.fresh_after)
        if not taken or fresh <= 0:
            return
        if visited == 1:
            if fresh == 1:
                self.delivery.observe(end - times[-1])
            else:
                self.delivery.observe_since(times[-fresh:], end, min(taken // fresh, 1))
            return
        each = min(taken // fresh, visited)
        for at in times[-fresh:]:
            self.delivery.observe_between(begin - at, end - at, each)

    def round(self, topic: Topic, now: float) -> None:
        """Count a round that is through with all readers."""
        if len(topic.readers) > 1:
            self.spread.observe(now - topic.visit.began)
        topic.visit.began = 0.0
