"""The service's own figures, once a second in the topic ``_stats``."""

import asyncio
from typing import Any

import orjson

from service.core.topics.hub import Hub
from service.edge.websocket.endpoint import WebSockets
from service.ops.activity import Activity
from service.ops.loop_lag import LoopLag
from service.ops.overload_controller import OverloadController
from service.ops.process import resident
from service.ops.stages import StageRates
from service.sources.batches import Batches
from service.sources.watches import Watches
from service.work.pipelines.pipelines import Pipelines

__all__ = ["StatsTopic"]


class StatsTopic:
    """Publishes a snapshot every second while somebody reads the topic."""

    def __init__(
        self,
        hub: Hub,
        sockets: WebSockets,
        batches: Batches,
        watches: Watches,
        pipelines: Pipelines,
        controller: OverloadController,
        lag: LoopLag,
    ) -> None:
        self._hub = hub
        self._controller = controller
        self._lag = lag
        self._sockets = sockets
        self._batches = batches
        self._watches = watches
        self._activity = Activity(hub, batches, watches)
        self._stages = StageRates(pipelines, hub.clock)
        self._topic = hub.own("_stats")
        self._started = hub.clock()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            # The topic is the service's own: where it was swept away because nobody reads it, it is made again.
            self._topic = self._hub.own("_stats")
            if self._topic.readers:
                await self._activity.sample()
                now = self._hub.clock()
                self._hub.append(self._topic, orjson.dumps(self.snapshot(now)), now)
            else:
                self._activity.forget()
                self._stages.forget()

    def snapshot(self, now: float) -> dict[str, Any]:
        """Return the figures of now, and of the topics at the last look."""
        batches, watches = self._batches.statistics(), self._watches.statistics()
        return {
            "uptime": round(now - self._started, 3),
            "connections": self._sockets.count,
            "readers": self._activity.readers,
            "topics": len(self._hub.topics),
            "published": self._hub.published,
            "deliveries": self._activity.deliveries,
            "batches": batches.running,
            "fetching": batches.active,
            "fetched": batches.ok,
            "failed": batches.failed,
            "watches": watches.urls,
            "polls": watches.polls,
            "changes": watches.changes,
            "loop_lag_ms": round(self._lag.worst * 1000, 1),
            "overload": int(self._controller.level),
            "rss_mib": round(resident() / (1 << 20), 1),
            **self._activity.document(),
            "stages": self._stages.document(),
        }
