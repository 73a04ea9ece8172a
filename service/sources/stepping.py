"""The steps of batches: bodies that have come, and whose events wait until their steps are carried out.

A body is a task, and counts as landed in its batch until it has its event: so the credit of readers, and the memory
for events, take it into account. A batch that has :data:`AHEAD` bodies here fetches no more until one is done, and
so does one whose owner has used up its share of the memory for bodies: what upstreams send waits in their sockets.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from service.core.errors import InvalidParams
from service.core.fetching.batch import Batch
from service.core.fetching.outcome import INTERNAL, Fetched
from service.core.fetching.target import final_url
from service.core.fetching.task import FetchTask
from service.core.owner import Owner
from service.core.pool import FOUR_FIFTHS, Pool
from service.runtime.containment import contain, report, report_failure
from service.work.builtin.count import KEYS, top_of
from service.work.counting import KeyCounts
from service.work.step import Body, PlannedStep
from service.work.step_runner import StepOutcome, StepRunner, planned_by

__all__ = ["AHEAD", "BatchSteps", "Stepped"]

AHEAD: Final = 64
"""Bodies of one batch whose steps wait or run: no more URLs begin then, and those under way still add theirs."""
_PROGRESS: Final = 1.0
"""Seconds between two events that tell how far the counts are."""
_TABLES: Final = 40
"""Batches that count at once."""


@dataclass(frozen=True, slots=True)
class Stepped:
    """An answer, and the outcome of its steps."""

    batch: Batch
    task: FetchTask
    fetched: Fetched
    queued: float
    shared: bool
    outcome: StepOutcome


@dataclass(slots=True, eq=False)
class _Batch:
    """A batch with steps."""

    steps: tuple[PlannedStep, ...]
    progressed: float
    counts: KeyCounts | None = None
    missed: int = 0
    """Results of before a restart, which are not in the counts."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    size: int = 0
    """Bytes of these bodies."""
    usual: float = 64 << 10
    """Bytes of a body, as they have come lately."""

    def counted(self) -> Mapping[str, Any]:
        """Return what is counted so far."""
        assert self.counts is not None
        found = self.counts.summary(top_of(self.steps))
        return {**found, "exact": False, "missed": self.missed} if self.missed else found


class BatchSteps:
    """Carries out the steps of all batches.

    ``ended`` gets each answer whose steps are over; ``progressed`` is called where a batch has counted for a while.
    """

    def __init__(
        self,
        steps: StepRunner | None,
        ended: Callable[[Stepped], object],
        progressed: Callable[[Batch], object],
    ) -> None:
        self.keys = Pool(
            "count_keys", _TABLES * KEYS, eager=FOUR_FIFTHS, advice="wait for a batch that counts to end"
        )
        """Keys that batches may count."""
        self._steps = steps
        self._ended = ended
        self._progressed = progressed
        self._batches: dict[str, _Batch] = {}
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"<BatchSteps {len(self._batches)} batches>"

    def check(self, given: list[dict[str, Any]] | None) -> tuple[PlannedStep, ...]:
        """Return the steps of a batch; raise InvalidParams for what is none."""
        try:
            return planned_by(self._steps, given)
        except InvalidParams as error:
            raise InvalidParams(f"options.{error.detail}") from None

    def plan(self, given: list[dict[str, Any]] | None, owner: Owner) -> tuple[PlannedStep, ...]:
        """Check the steps of a batch that begins; raises InvalidParams, and LimitReached where too many count."""
        steps = self.check(given)
        if any(one.step.merges for one in steps):
            self.keys.check(owner, KEYS)
        return steps

    def add(self, batch: Batch, steps: tuple[PlannedStep, ...]) -> None:
        """Take in a batch that begins or goes on; nothing is done for one without steps."""
        if not steps:
            return
        state = self._batches[batch.id] = _Batch(steps, self._loop.time())
        if any(one.step.merges for one in steps):
            self.keys.charge(batch.owner, KEYS)
            state.counts, state.missed = KeyCounts(KEYS), batch.ok
            batch.counted = state.counted

    def has_room(self, batch: Batch) -> bool:
        """Return whether one more body of a batch may come."""
        state = self._batches.get(batch.id)
        if state is None or self._steps is None:
            return True
        coming = batch.landed - state.size + int((batch.under_way + 1) * state.usual)
        pool = self._steps.pool
        if not (batch.under_way or batch.landed or pool.held(batch.owner)):
            return True
        return len(state.tasks) < AHEAD and pool.room(batch.owner) >= coming * (1 + pool.eager)

    def begin(self, batch: Batch, task: FetchTask, fetched: Fetched, queued: float, shared: bool) -> bool:
        """Begin the steps of an answer; return False for one that has none."""
        state = self._batches.get(batch.id)
        if state is None or not batch.options.runs_steps(fetched.status):
            return False
        state.usual += (len(fetched.body) - state.usual) / 8
        if fetched.truncated:
            detail = f"the body is larger than max_bytes ({batch.options.max_bytes}) and was cut"
            outcome = StepOutcome((), state.steps[0].step.name, detail)
            self._ended(Stepped(batch, task, fetched, queued, shared, outcome))
            return True
        batch.landed += len(fetched.body)
        state.size += len(fetched.body)
        job = self._loop.create_task(self._carry_out(batch, state, task, fetched, queued, shared), name="step")
        state.tasks.add(job)
        job.add_done_callback(lambda job: self._over(batch, state, job, len(fetched.body)))
        return True

    async def _carry_out(
        self, batch: Batch, state: _Batch, task: FetchTask, fetched: Fetched, queued: float, shared: bool
    ) -> None:
        assert self._steps is not None
        body = Body(fetched.body, fetched.content_type, final_url(fetched.target, task.request.url))
        try:
            outcome = await self._steps.run(state.steps, body, batch.owner)
            if outcome.failed is None and state.counts is not None:
                for _ in state.counts.merge_pieces(KeyCounts.read(outcome.tally)):
                    await asyncio.sleep(0)
        except Exception as error:
            report("the steps of a body could not be carried out", error)
            outcome = StepOutcome((), state.steps[0].step.name, INTERNAL.detail)
        self._ended(Stepped(batch, task, fetched, queued, shared, outcome))

    def _over(self, batch: Batch, state: _Batch, job: "asyncio.Task[None]", size: int) -> None:
        """Count a body out, whose task has ended or was cancelled."""
        batch.landed -= size
        state.size -= size
        state.tasks.discard(job)
        report_failure("a result with steps could not be delivered", job)
        counts = state.counts is not None and self._batches.get(batch.id) is state
        if counts and self._loop.time() - state.progressed >= _PROGRESS:
            state.progressed = self._loop.time()
            contain("the progress of a batch could not be appended", self._progressed, batch)

    def end(self, batch: Batch) -> None:
        """Forget a batch: what runs of it is stopped. What it has counted stays with it."""
        state = self._batches.pop(batch.id, None)
        if state is None:
            return
        for job in state.tasks:
            job.cancel()
        if state.counts is not None:
            self.keys.release(batch.owner, KEYS)
            last = state.counted()
            batch.counted = lambda: last

    async def close(self) -> None:
        """Stop all that runs."""
        jobs = [job for state in self._batches.values() for job in state.tasks]
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
