"""Runs a list of steps on a body, each in its place, and says the outcome of each."""

import asyncio
import logging
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import msgspec
import orjson

from service.core.errors import SluiceError
from service.core.owner import Owner
from service.core.pool import FOUR_FIFTHS, Pool
from service.runtime.turns import Turns
from service.upstream.content.media_types import media_type
from service.work.blob_files import DEFAULT_TYPE
from service.work.blobs import Blobs, BlobsStatistics
from service.work.errands import Errand
from service.work.step import Body, Made, PlannedStep, Product, StepFailed
from service.work.worker_pool import StepTimeout, WorkerPool
from service.work.worker_process import WorkerGone

__all__ = ["StepOutcome", "StepRunner", "StepStatistics"]

_log = logging.getLogger("sluice.steps")

_THREADS: Final = 8
"""Steps in threads at once."""
_BASE64: Final = 6 << 20
"""Bytes of a product that a result may carry itself, without a blob store."""


class StepBroken(Exception):
    """A step raised in its process; the text is the traceback."""


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """The outcome of each step, as JSON; and which of them failed, where one did: none is run after it."""

    results: tuple[bytes, ...]
    failed: str | None = None
    detail: str = ""


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

    def __init__(self, workers: WorkerPool, blobs: Blobs | None, *, time: float, bodies: int) -> None:
        self.blobs = blobs
        self.pool = Pool("step_bytes", bodies, eager=FOUR_FIFTHS, advice="fewer steps at a time, or smaller bodies")
        """Bytes of bodies whose steps wait or run."""
        self._workers = workers
        self._time = time
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

    async def run(self, steps: Sequence[PlannedStep], body: Body, owner: Owner) -> StepOutcome:
        """Run them in order, until one fails; raises the pool's error for an owner that has used up its share."""
        size = len(body.data)
        if not self.pool.fits(owner, size):
            raise self.pool.refusal(owner)
        self.pool.take(owner, size)
        try:
            return await self._run(steps, body, owner)
        finally:
            self.pool.give_back(owner, size)

    async def _run(self, steps: Sequence[PlannedStep], body: Body, owner: Owner) -> StepOutcome:
        results: list[bytes] = []
        for planned in steps:
            name = planned.step.name
            try:
                results.append(await self._one(planned, body, owner))
            except Exception as error:
                self._done[name, "failed"] += 1
                return StepOutcome(tuple(results), name, _detail(name, body, error))
            self._done[name, "ok"] += 1
        return StepOutcome(tuple(results))

    async def _one(self, planned: PlannedStep, body: Body, owner: Owner) -> bytes:
        if planned.step.runs == "process":
            fields, product = await self._in_process(planned, body, owner)
        else:
            made = await self._in_thread(planned, body, owner)
            fields, product = orjson.dumps({"step": planned.step.name, **made.fields}), made.product
        return fields if product is None else await self._kept(fields, product)

    async def _in_thread(self, planned: PlannedStep, body: Body, owner: Owner) -> Made:
        async with self._turns.turn(owner):
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(self._time):
                    # A thread cannot be ended; one that hangs keeps its place, and what waits for it times out too.
                    return await loop.run_in_executor(
                        self._threads, planned.step.function, body, planned.parameters
                    )
            except TimeoutError:
                raise StepTimeout(f"took longer than {self._time:g} s") from None

    async def _in_process(self, planned: PlannedStep, body: Body, owner: Owner) -> tuple[bytes, Product | None]:
        parameters = msgspec.Raw(msgspec.json.encode(planned.parameters))
        errand = Errand(planned.step.name, parameters, body.type, body.url)
        answer, data = await self._workers.carry_out(errand, bytes(body.data), owner, self._time)
        if answer.broken is not None:
            raise StepBroken(answer.broken)
        if answer.failed is not None:
            raise StepFailed(answer.failed)
        fields = data[: answer.fields]
        return fields, Product(data[answer.fields :], answer.type) if answer.type is not None else None

    async def _kept(self, fields: bytes, product: Product) -> bytes:
        """Put a product into the blob store; without one, into the result."""
        if self.blobs is None:
            if len(product.data) > _BASE64:
                raise StepFailed(f"made {len(product.data)} bytes, more than a result without --blobs may have")
            return _with(fields, {"data": b64encode(product.data).decode()})
        essence = media_type(product.type).essence or DEFAULT_TYPE
        blob = await self.blobs.save(bytes(product.data), essence)
        facts = {"sha256": blob.sha256, "bytes": blob.size, "type": blob.type} if product.described else {}
        return _with(fields, {"blob": f"/blobs/{blob.sha256}", **facts})

    async def close(self) -> None:
        """End what runs."""
        await self._workers.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def _detail(name: str, body: Body, error: Exception) -> str:
    """Return what a client may know of an error; a bug in a step is logged, and its text does not leave."""
    if isinstance(error, StepFailed | StepTimeout):
        return str(error)
    if isinstance(error, SluiceError):
        return error.detail
    if isinstance(error, WorkerGone):
        return f"its process was ended twice: {error}"
    _log.error("a step raised", exc_info=error, extra={"step": name, "url": body.url})
    return "internal error in the step; the service's log says more"


def _with(fields: bytes, more: dict[str, object]) -> bytes:
    """Return the JSON of an object, which is not empty, with more members."""
    return fields[:-1] + b"," + orjson.dumps(more)[1:]
