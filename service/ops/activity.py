"""What is going on in single topics, batches and watches: the few busiest of each, for the topic ``_stats``."""

import asyncio
from heapq import nlargest
from itertools import islice
from typing import Any, Final
from urllib.parse import urlsplit

from service.core.topics.hub import Hub
from service.core.topics.topic import Topic
from service.sources.batches import Batches
from service.sources.outcomes import rounded
from service.sources.watches import Watches

__all__ = ["Activity"]

_MOST: Final = 10
_SLICE: Final = 500
"""Topics that are looked at in one loop turn: less than a millisecond where all of them are read."""
_LOOKED_AT: Final = 1000
"""Watches among which the few are chosen."""


class Activity:
    """Looks at all topics once a second, while somebody wants to know; the loop turns in between."""

    def __init__(self, hub: Hub, batches: Batches, watches: Watches) -> None:
        self.readers = 0
        self.deliveries = 0
        """Cursors at the last look, and deliveries since the start."""
        self._hub = hub
        self._batches = batches
        self._watches = watches
        self._before: dict[Topic, tuple[int, int]] | None = None
        self._busiest: list[dict[str, Any]] = []

    def forget(self) -> None:
        """Drop what the next look would be compared with: it is too old, or nobody asks any more."""
        self._before = None
        self._busiest = []

    async def sample(self) -> None:
        """Count what each topic has published and delivered since the look before."""
        # A topic that goes meanwhile is counted here, one that has gone there.
        readers, deliveries = 0, self._hub.settled
        before, now, busy = self._before, {}, []
        for number, topic in enumerate(tuple(self._hub.topics.values()), start=1):
            if topic.readers or topic.delivered:
                readers += len(topic.readers)
                deliveries += topic.delivered
                counts = now[topic] = (topic.delivered, topic.head)
                delivered, head = counts if before is None else before.get(topic, (0, 0))
                if topic.head > head or topic.delivered > delivered:
                    busy.append((topic.delivered - delivered, topic.head - head, topic))
            if number % _SLICE == 0:
                await asyncio.sleep(0)
        self.readers, self.deliveries, self._before = readers, deliveries, now
        self._busiest = [
            {
                "topic": _name(topic),
                "readers": len(topic.readers),
                "published": published,
                "deliveries": delivered,
            }
            for delivered, published, topic in nlargest(_MOST, busy, key=lambda one: one[:2])
        ]

    def document(self) -> dict[str, Any]:
        """Return the few of each as ``_stats`` has them."""
        watches = nlargest(
            _MOST, islice(self._watches.watched(), _LOOKED_AT), key=lambda watch: watch.intervals.total()
        )
        return {
            "busiest": self._busiest,
            "running": [
                {
                    "batch": _short(batch.id),
                    "total": batch.total,
                    "ok": batch.ok,
                    "failed": batch.failed,
                    "time_ms": rounded(batch.time_ms),
                }
                for batch in islice(self._batches.under_way(), _MOST)
            ],
            "watched": [
                {
                    "url": _bare(watch.url),
                    "every": watch.every if watch.intervals else None,
                    "watchers": watch.intervals.total(),
                }
                for watch in watches
            ],
        }


def _name(topic: Topic) -> str:
    kind, colon, batch_id = topic.name.partition("batch:")
    return f"batch:{_short(batch_id)}" if colon and not kind else topic.name


def _short(batch_id: str) -> str:
    """Leave out most of an id: who knows the whole may read and cancel the batch."""
    return f"{batch_id[:6]}…"


def _bare(url: str) -> str:
    """Leave out what may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" + ("?…" if parts.query else "")
