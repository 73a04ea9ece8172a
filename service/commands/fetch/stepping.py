"""``--steps``: what is carried out on the bodies of a run."""

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final

from service.core.errors import InvalidParams, ParseError
from service.core.fetching.outcome import Fetched
from service.core.fetching.target import final_url
from service.core.owner import SERVICE
from service.core.parsing import parse
from service.runtime.containment import report, report_failure
from service.work.builtin.count import KEYS, top_of
from service.work.counting import KeyCounts
from service.work.opening import import_steps, open_steps
from service.work.options import StepOptions
from service.work.step import Body, plan
from service.work.step_runner import StepOutcome, StepRunner

__all__ = ["BodySteps", "read_steps"]

_AHEAD: Final = 64
"""Bodies whose steps wait or run; with more of them nothing is fetched."""


def read_steps(text: str | None) -> list[dict[str, Any]] | None:
    """Return the list that the option has; raises ValueError."""
    if text is None:
        return None
    import_steps()
    try:
        given: list[dict[str, Any]] = parse(text.encode())
        plan(given, blobs=False)
    except (InvalidParams, ParseError) as error:
        raise ValueError(f"--steps: {error.detail.removeprefix('steps').removeprefix(': ')}") from None
    return given


class BodySteps:
    """Carries out a list of steps, which was read before, on each body; None is a run without steps."""

    def __init__(self, given: list[dict[str, Any]] | None = None) -> None:
        self._steps = plan(given, blobs=False) if given is not None else ()
        self._runner: StepRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        counts = any(one.step.merges for one in self._steps)
        self._counts = KeyCounts(KEYS) if counts else None

    @property
    def running(self) -> int:
        """How many bodies are here."""
        return len(self._tasks)

    @property
    def full(self) -> bool:
        """Whether no more bodies are to come."""
        return len(self._tasks) >= _AHEAD

    def counted(self) -> dict[str, Any]:
        """Return what the last event has beside its numbers."""
        return {} if self._counts is None else {"counts": self._counts.summary(top_of(self._steps))}

    def begin(self, url: str, fetched: Fetched, then: Callable[[StepOutcome], None]) -> None:
        """Begin the steps of an answer, and call back with their outcome."""
        task = asyncio.create_task(self._carry_out(url, fetched, then), name="step")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        report_failure("a result with steps could not be printed", task)

    async def _carry_out(self, url: str, fetched: Fetched, then: Callable[[StepOutcome], None]) -> None:
        if self._runner is None:
            self._runner = await open_steps(StepOptions(processes=len(os.sched_getaffinity(0))))
        body = Body(fetched.body, fetched.content_type, final_url(fetched.target, url))
        try:
            outcome = await self._runner.run(self._steps, body, SERVICE)
            if self._counts is not None and outcome.failed is None:
                for _ in self._counts.merge_pieces(KeyCounts.read(outcome.tally)):
                    await asyncio.sleep(0)
        except Exception as error:
            report("the steps of a body could not be carried out", error)
            outcome = StepOutcome((), self._steps[0].step.name, f"internal error: {error!a}")
        then(outcome)

    async def close(self) -> None:
        """Stop what runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.close()
