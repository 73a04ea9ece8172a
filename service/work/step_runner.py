"""Runs a list of steps on a body, each in its place, and says the outcome of each."""

import asyncio
import logging
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
import orjson

from service.core.errors import InvalidParams, SluiceError, StorageFailed
from service.core.fetching.outcome import Failure, FailureKind
from service.core.owner import Owner
from service.core.pool import FOUR_FIFTHS, Pool, PoolStatistics, share_used
from service.runtime.giving_way import GivingWay
from service.runtime.threads import ThreadUnavailable, call_in_thread
from service.runtime.turns import Turns
from service.upstream.content.media_types import media_type
from service.work.blob_files import DEFAULT_TYPE
from service.work.blobs import Blobs, BlobsStatistics
from service.work.errands import Errand
from service.work.guarded import guarded
from service.work.step import Body, PlannedStep, Product, StepFailed, check_size, plan, result_of
from service.work.worker_pool import StepTimeout, WorkerPool
from service.work.worker_process import WorkerGone

__all__ = ["StepOutcome", "StepRunner", "StepStatistics", "planned_by"]

_log = logging.getLogger("sluice.steps")

_THREADS: Final = 8
"""Steps in threads at once."""
_OVERHEAD: Final = 4096
"""Bytes that a body takes beside its own, while its steps wait or run."""
_BASE64: Final = 6 << 20
"""Bytes of a product that a result may carry itself, without a blob store."""


class StepBroken(Exception):
    """A step raised in its process; the text is the traceback."""


@dataclass(frozen=True, slots=True)
class _Done:
    """The outcome of one step."""

    result: bytes
    """JSON."""
    tally: bytes
    process: float = 0.0
    thread: float = 0.0
    """Seconds that it ran, without its waiting."""


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """The outcome of each step, as JSON; and which of them failed, where one did: none is run after it."""

    results: tuple[bytes, ...]
    failed: str | None = None
    detail: str = ""
    tally: bytes = b""
    """What is merged over a batch."""
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)
    """By place, and ``waiting`` for all of the rest."""
    error: FailureKind = "step_failed"
    """The kind of failure: ``storage`` is not the fault of the body."""

    @property
    def failure(self) -> Failure | None:
        """What the event of its URL says, where a step failed."""
        if self.failed is None:
            return None
        temporary = self.error == "storage"
        return Failure(self.error, self.detail, temporary=temporary, step=self.failed, steps=self.results)


@dataclass(frozen=True, slots=True)
class StepStatistics:
    """A snapshot: what runs and waits by place, and totals since the start."""

    running: dict[str, int]
    waiting: dict[str, int]
    done: dict[tuple[str, str], int]
    """By step and outcome: ``ok`` or ``failed``."""
    replaced: int
    blobs: BlobsStatistics | None


class StepRunner:
    """Runs steps for all owners, in turns, until :meth:`close`."""

    def __init__(
        self,
        workers: WorkerPool,
        blobs: Blobs | None,
        *,
        step_time: float,
        bodies: int,
        gives_way: GivingWay | None = None,
    ) -> None:
        self.blobs = blobs
        self.gives_way = gives_way or GivingWay()
        """Urgent work for which each step waits before it begins."""
        self.pool = Pool("step_bytes", bodies, eager=FOUR_FIFTHS, advice="fewer steps at a time, or smaller bodies")
        """Bytes of bodies whose steps wait or run, and of the results that these have so far."""
        self._workers = workers
        self._step_time = step_time
        self._turns = Turns(_THREADS)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="steps")
        self._done: Counter[tuple[str, str]] = Counter()

    def __repr__(self) -> str:
        return f"<StepRunner {self._workers!r}, threads {self._turns!r}>"

    def statistics(self) -> StepStatistics:
        """Return an immutable snapshot."""
        places = {"thread": self._turns, "process": self._workers.turns}
        return StepStatistics(
            {name: turns.taken for name, turns in places.items()},
            {name: turns.waiting for name, turns in places.items()},
            dict(self._done),
            self._workers.replaced,
            self.blobs.statistics() if self.blobs is not None else None,
        )

    def places(self) -> PoolStatistics:
        """Return a snapshot of the places in threads or in processes, of the busier of the two."""
        return max(self._turns.statistics(), self._workers.turns.statistics(), key=share_used)

    def kept(self) -> tuple[PoolStatistics, PoolStatistics]:
        """Return snapshots of the shares that owners have of the bytes and of the number of blobs."""
        nothing = PoolStatistics(0, 0, 0, 0, 0)
        return self.blobs.shares() if self.blobs is not None else (nothing, nothing)

    def check(self, owner: Owner, size: int) -> None:
        """Raise the pool's error for an owner that has no room for a body of this size."""
        if not self.pool.fits(owner, size + _OVERHEAD):
            raise self.pool.refusal(owner)

    async def run(self, steps: Sequence[PlannedStep], body: Body, owner: Owner) -> StepOutcome:
        """Run them in order, until one fails; the body counts in the pool, whether or not there is room."""
        size = len(body.data) + _OVERHEAD
        results: list[bytes] = []
        self.pool.charge(owner, size)
        try:
            return await self._run(steps, body, owner, results)
        finally:
            self.pool.release(owner, size + sum(map(len, results)))

    async def _run(
        self, steps: Sequence[PlannedStep], body: Body, owner: Owner, results: list[bytes]
    ) -> StepOutcome:
        seconds = {"thread": 0.0, "process": 0.0}
        began, tally, failed, detail = time.perf_counter(), b"", None, ""
        kind: FailureKind = "step_failed"
        for planned in steps:
            name, started = planned.step.name, time.perf_counter()
            try:
                done = await self._one(planned, body, owner)
                check_size(sum(map(len, results), len(done.result)))
            except Exception as error:
                self._done[name, "failed"] += 1
                failed, detail = name, _detail(name, body, error)
                kind = "storage" if isinstance(error, StorageFailed) else "step_failed"
                seconds[planned.step.runs] += time.perf_counter() - started
                break
            self._done[name, "ok"] += 1
            results.append(done.result)
            self.pool.charge(owner, len(done.result))
            tally = done.tally if planned.step.merges else tally
            seconds["thread"] += done.thread
            seconds["process"] += done.process
        seconds["waiting"] = max(0.0, time.perf_counter() - began - sum(seconds.values()))
        return StepOutcome(tuple(results), failed, detail, tally, seconds, kind)

    async def _one(self, planned: PlannedStep, body: Body, owner: Owner) -> _Done:
        if planned.step.runs == "process":
            return await self._in_process(planned, body, owner)
        return await self._in_thread(owner, self._carry_out, planned, body, owner)

    async def _in_thread(self, owner: Owner, function: Callable[..., _Done], *arguments: object) -> _Done:
        """Call a function in a thread, when it is the owner's turn; say how long it took."""
        async with self._turns.turn(owner):
            await self.gives_way.wait()
            try:
                async with asyncio.timeout(self._step_time) as limit:
                    # A thread cannot be ended; one that hangs keeps its place, and what waits for it times out too.
                    return await call_in_thread(self._threads, _timed, function, *arguments)
            except TimeoutError:
                if not limit.expired():
                    raise
                raise StepTimeout(f"took longer than {self._step_time:g} s") from None

    def _carry_out(self, planned: PlannedStep, body: Body, owner: Owner) -> _Done:
        """Carry out a step, and keep what it makes."""
        made = planned.step.function(body, planned.parameters)
        return self._finished(_Done(result_of(planned.step.name, made), made.tally), made.product, owner)

    def _finished(self, done: _Done, product: Product | None, owner: Owner) -> _Done:
        """Put what a step makes into the blob store, or into the result without one; it waits for the disk."""
        if product is None:
            return done
        if self.blobs is None:
            if len(product.data) > _BASE64:
                raise StepFailed(f"made {len(product.data)} bytes, more than a result without --blobs may have")
            return replace(done, result=_with(done.result, {"data": b64encode(product.data).decode()}))
        blob = self.blobs.save(product.data, media_type(product.type).essence or DEFAULT_TYPE, owner)
        facts = {"sha256": blob.sha256, "bytes": blob.size, "type": blob.type} if product.described else {}
        return replace(done, result=_with(done.result, {"blob": f"/blobs/{blob.sha256}", **facts}))

    async def _in_process(self, planned: PlannedStep, body: Body, owner: Owner) -> _Done:
        parameters = msgspec.Raw(msgspec.json.encode(planned.parameters))
        errand = Errand(planned.step.name, parameters, body.type, body.url)
        answer, data = await self._workers.carry_out(errand, bytes(body.data), owner, self._step_time)
        if answer.broken is not None:
            raise StepBroken(answer.broken)
        if answer.failed is not None:
            raise StepFailed(answer.failed)
        rest = answer.fields + answer.tally
        done = _Done(data[: answer.fields], data[answer.fields : rest], process=answer.took)
        if answer.type is None:
            return done
        return await self._in_thread(
            owner, self._finished, done, Product(memoryview(data)[rest:], answer.type), owner
        )

    async def close(self) -> None:
        """End what runs, and finish the files that are being written."""
        await self._workers.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self.blobs is not None:
            await self.blobs.close()


def planned_by(runner: StepRunner | None, given: list[dict[str, Any]] | None) -> tuple[PlannedStep, ...]:
    """Check a list of steps for a runner; raises InvalidParams. Nothing is planned where none is given."""
    if given is None:
        return ()
    if runner is None:
        raise InvalidParams("steps: this service has no steps")
    return plan(given, blobs=runner.blobs is not None)


def _timed(function: Callable[..., _Done], *arguments: object) -> _Done:
    """Carry out a step in a thread, or a part of it; say how long it took."""
    began = time.perf_counter()
    done = guarded(function, *arguments)
    return replace(done, thread=time.perf_counter() - began)


def _detail(name: str, body: Body, error: Exception) -> str:
    """Return what a client may know of an error; a bug in a step is logged, and its text does not leave."""
    if isinstance(error, StepFailed | StepTimeout | ThreadUnavailable | WorkerGone):
        return str(error)
    if isinstance(error, SluiceError):
        return error.detail
    _log.error("a step raised", exc_info=error, extra={"step": name, "url": body.url})
    return "internal error in the step; the service's log says more"


def _with(fields: bytes, more: dict[str, object]) -> bytes:
    """Return the JSON of an object, which is not empty, with more members."""
    return fields[:-1] + b"," + orjson.dumps(more)[1:]
