"""The outcomes of the URLs of batches: one event each, appended and counted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Final

from service.core.fetching.batch import Batch
from service.core.fetching.outcome import INTERNAL, Failure, Fetched
from service.core.fetching.task import FetchTask
from service.core.topics.hub import Hub
from service.runtime.containment import report
from service.sources.retention import Retention
from service.sources.stepping import Stepped
from service.upstream.content.result_events import result_event

__all__ = ["OutcomeRecorder", "rounded"]

_STEPPED: Final = {"thread": "threads", "process": "processes", "waiting": "waiting"}
"""What the time of steps counts as in a batch."""


class OutcomeRecorder:
    """Appends events. Each method returns whether it has: a URL that has its event already gets no second one."""

    def __init__(self, hub: Hub, retention: Retention) -> None:
        self.ok = 0
        self.failures: Counter[str] = Counter()
        """How many failed since the start, by their kind."""
        self._hub = hub
        self._retention = retention

    def __repr__(self) -> str:
        return f"<OutcomeRecorder {self.ok} ok, {self.failures.total()} failed>"

    def result(
        self, batch: Batch, task: FetchTask, fetched: Fetched, queued: float, *, shared: bool,
        steps: Sequence[bytes] | None = None,
    ) -> bool:  # fmt: skip
        """Append a result, or the failure that refuses it; ``queued`` is in seconds."""
        if batch.finished[task.index]:
            return False
        began = perf_counter()
        mode = batch.options.mode(fetched.status)
        size = sum(map(len, steps)) if steps is not None and mode == "none" else len(fetched.body)
        if (refused := self._retention.refuses(batch, size)) is not None:
            return self.failure(batch, task.index, refused, task.attempts, fetched.timing)
        cache = "shared" if shared else fetched.cache
        event = result_event(task.index, task.request.url, fetched, mode, task.attempts, cache, queued, steps)
        self._retention.append(batch, event, self._hub.clock())
        spent = batch.time_ms
        spent["network"] += fetched.timing.get("total", 0.0)
        spent["waiting"] += queued * 1000
        spent["loop"] += (perf_counter() - began) * 1000
        self.ok += 1
        batch.succeed(task.index, fetched.status)
        return True

    def stepped(self, one: Stepped) -> bool:
        """Append the outcome of the steps of an answer; a bug fails that URL alone."""
        batch, task, failure = one.batch, one.task, one.outcome.failure
        for place, name in _STEPPED.items():
            batch.time_ms[name] += one.outcome.seconds.get(place, 0.0) * 1000
        try:
            if failure is None:
                steps = one.outcome.results
                return self.result(batch, task, one.fetched, one.queued, shared=one.shared, steps=steps)
        except Exception as error:
            report("a result with steps could not be appended", error)
            failure = INTERNAL
        return self.failure(batch, task.index, failure, task.attempts, one.fetched.timing)

    def failure(self, batch: Batch, index: int, failure: Failure, attempts: int, timing: dict[str, float]) -> bool:
        """Append a failure; the times are in milliseconds."""
        if batch.finished[index]:
            return False
        self._retention.append_failure(batch, index, failure, attempts, timing, self._hub.clock())
        batch.time_ms["network"] += timing.get("total", 0.0)
        self.failures[failure.kind] += 1
        batch.fail(index)
        return True


def rounded(times: Mapping[str, float]) -> dict[str, float]:
    """Return milliseconds, rounded for answers."""
    return {place: round(spent, 1) for place, spent in times.items()}
