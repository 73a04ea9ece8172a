"""The polls of watched URLs: made when they are due, and the outcome of each, for the views of its watch.

What goes wrong with a poll, or with one view of it, is logged; the other views hear of the answer all the
same, and the next poll comes.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Final

import msgspec

from service.core.errors import Overloaded
from service.core.fetching.batch import flavour_of
from service.core.fetching.outcome import INTERNAL, Failure, Fetched, Permit
from service.core.fetching.request import FetchRequest, Options
from service.core.fetching.target import final_url
from service.core.fetching.task import FetchTask
from service.core.owner import Owner
from service.runtime.per_turn import PerTurn
from service.sources.conditional import conditions_for, meaning_of
from service.sources.watch import Poll, View, Watch
from service.upstream.content.result_events import LARGE, encode_in_steps
from service.upstream.content.select_failed import SelectFailed
from service.upstream.content.selection_process import Selector, SelectTimeout
from service.upstream.runner import Runner
from service.work.step import Body
from service.work.step_runner import StepOutcome, StepRunner

__all__ = ["Polls"]

_log = logging.getLogger("sluice.watches")

_STEPS: Final = 1
"""Parts of large bodies that are hashed or encoded in one turn of the loop: up to 3.5 ms each (encode_in_steps)."""


class Polls:
    """Asks for what is watched, and finds out what changed; ``timeout`` and ``penalty`` are in seconds."""

    def __init__(
        self, runner: Runner, selector: Selector, steps: StepRunner | None, *, timeout: float, penalty: float,
        chance: Callable[[], float],
    ) -> None:  # fmt: skip
        self.made = 0
        self.changes = 0
        self._runner = runner
        self._selector = selector
        self._steps = steps
        self._timeout = timeout
        self._penalty = penalty
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = PerTurn(_STEPS)

    async def close(self) -> None:
        """End every task."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def schedule(self, watch: Watch) -> None:
        """Set the time of the next poll."""
        if watch.polling:
            return
        if watch.timer is not None:
            watch.timer.cancel()
        watch.timer = self._loop.call_at(max(watch.due, watch.not_before), self._poll, watch)

    def _poll(self, watch: Watch) -> None:
        now = self._loop.time()
        watch.timer = None
        # The second poll comes at a random phase, so that what was begun together is spread; from there in step.
        phase = 0.5 + self._chance() if watch.polled is None else 1.0
        watch.due = max(watch.due + watch.every * phase, now)
        watch.polled = now
        with self._going_on(watch):
            if why := self._selection_refusal(watch):
                self._refuse_selections(watch, why)
            else:
                self._ask(watch)

    def _selection_refusal(self, watch: Watch) -> str | None:
        """Return why a poll is useless now: nothing could be selected from an answer as large as the last one."""
        if not watch.size or any(view.select is None for view in watch.views.values()):
            return None
        return self._selector.refusal(watch.owner, watch.size)

    def _refuse_selections(self, watch: Watch, why: str) -> None:
        watch.conditions = {}
        self._each(watch, lambda view: view.failed("unavailable", f"select: {why}", unread=True))
        self.schedule(watch)

    def _ask(self, watch: Watch) -> None:
        watch.polling = True
        self.made += 1
        headers = {} if watch.anew else watch.conditions
        watch.anew = False
        options = Options(timeout=self._timeout, retries=1, cache="reload", concurrency=1)
        request = FetchRequest(watch.url, headers=headers or None)
        flavour = flavour_of(options, watch.hosts, watch.owner)
        self._runner.add(
            Poll(f"poll-{self.made}", watch, self, options, [request], flavour, watch.hosts, watch.owner)
        )

    def admit(self, group: Poll) -> Permit:
        """Let every poll start: polls wait for nobody's reading, only what changed is kept, once for all."""
        return Permit.START

    def failed(self, group: Poll, index: int, failure: Failure, attempts: int, timing: dict[str, float]) -> None:
        """Receive the failure of a poll."""
        self._ended(group, failure)

    def succeeded(self, group: Poll, task: FetchTask, fetched: Fetched, queued: float, *, shared: bool) -> None:
        """Receive the answer to a poll."""
        self._ended(group, fetched)

    def _ended(self, poll: Poll, outcome: Fetched | Failure) -> None:
        watch = poll.watch
        with self._going_on(watch):
            self._runner.forget(poll)
            headers = poll.items[0].headers
            meaning = meaning_of(outcome, headers, watch.source or watch.url)
            if meaning in ("state", "unchanged"):
                watch.answered(conditional=bool(headers))
            if meaning == "state" and isinstance(outcome, Fetched):
                task = watch.reading = self._loop.create_task(self._read(watch, outcome), name="watch")
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                return
            if meaning == "repeat":
                watch.repeat(outcome.status if isinstance(outcome, Fetched) else 0, self._loop.time())
            elif isinstance(meaning, Failure):
                self._note_failure(watch, meaning, conditional=bool(headers))
            else:
                self._each(watch, View.unchanged)
            self._again(watch)

    async def _read(self, watch: Watch, fetched: Fetched) -> None:
        """Find out what changed, and tell it."""
        try:
            watch.read(fetched.status, conditions_for(fetched.headers), fetched.target.url)
            watch.size = len(fetched.body)
            for view in tuple(watch.views.values()):
                try:
                    await self._show(watch, view, fetched)
                except Exception as error:
                    self._broken(watch, error)
                    self._each(watch, lambda one: one.failed(INTERNAL.kind, INTERNAL.detail, unread=True), view)
        except Exception as error:
            self._broken(watch, error)
        finally:
            watch.reading = None
            self._again(watch)

    async def _show(self, watch: Watch, view: View, fetched: Fetched) -> None:
        shown = await self._selected(watch, view, fetched)
        if shown is None:
            return
        state = f"{shown.status} {await self._digest(shown.body, watch.owner)}"
        steps = None
        if view.runs_steps(shown.status, state):
            if view.is_unfit(state):
                return
            outcome = await self._stepped(watch, view, fetched)
            if outcome.failed is not None:
                if outcome.error != "step_failed":
                    watch.conditions = {}  # the same body may be processed another time
                view.steps_failed(state, outcome.error, f"{outcome.failed}: {outcome.detail}")
                return
            steps = outcome.results
        if state != view.digest:
            await self._encode(shown, watch.owner)
        try:
            self.changes += view.show(shown, state, steps)
        except Overloaded as full:
            watch.conditions = {}  # the same body may find room another time
            view.failed("too_large", full.detail, unread=True)

    async def _digest(self, body: bytes, owner: Owner) -> str:
        """Return the SHA-256 of a body; others go on between its parts."""
        digest = sha256(body[:LARGE])
        for at in range(LARGE, len(body), LARGE):
            await self._turn.wait(owner)
            digest.update(body[at : at + LARGE])
        return digest.hexdigest()

    async def _encode(self, shown: Fetched, owner: Owner) -> None:
        """Encode a body for its event, where it is large; others go on between its parts."""
        if len(shown.body) > LARGE:
            for _ in encode_in_steps(shown, "auto"):
                await self._turn.wait(owner)

    async def _selected(self, watch: Watch, view: View, fetched: Fetched) -> Fetched | None:
        """Return an answer with what a view selects of it as its body; None where that fails."""
        if view.select is None:
            return fetched
        try:
            cut, owner = fetched.truncated, watch.owner
            body = await self._selector.select(
                fetched.body, view.select, fetched.content_type, cut=cut, owner=owner
            )
            headers = {**fetched.headers, "content-type": "text/plain; charset=utf-8"}
            return msgspec.structs.replace(fetched, headers=headers, body=body, encoded=None)
        except SelectFailed as failed:
            if isinstance(failed, SelectTimeout):
                watch.not_before = self._loop.time() + self._penalty
            if isinstance(failed, SelectTimeout) or failed.kind == "unavailable":
                watch.conditions = {}  # the same body may be read another time
            status = f" (status {fetched.status})" if fetched.status != 200 else ""
            view.failed(failed.kind, f"select: {failed}{status}", unread=True)
            return None

    async def _stepped(self, watch: Watch, view: View, fetched: Fetched) -> StepOutcome:
        """Carry out the steps of a view on the whole body of an answer."""
        assert self._steps is not None
        if fetched.truncated:
            detail = f"the body is larger than {len(fetched.body):,} bytes and was cut"
            return StepOutcome((), view.steps[0].step.name, detail)
        body = Body(fetched.body, fetched.content_type, final_url(fetched.target, watch.url))
        return await self._steps.run(view.steps, body, watch.owner)

    def _note_failure(self, watch: Watch, failure: Failure, *, conditional: bool) -> None:
        """Record a poll that failed."""
        if failure.retry_after is None:
            watch.failed(conditional=conditional)
        else:
            watch.not_before = self._loop.time() + min(failure.retry_after, 86_400.0)
            watch.anew = watch.anew or any(view.unread for view in watch.views.values())
        self._each(watch, lambda view: view.failed(failure.kind, failure.detail))

    def _each(self, watch: Watch, action: Callable[[View], None], only: View | None = None) -> None:
        """Notify every view of a watch, or one; where one fails, the others still get it."""
        for view in tuple(watch.views.values()) if only is None else (only,):
            try:
                action(view)
            except Exception as error:
                self._broken(watch, error)

    def _broken(self, watch: Watch, error: Exception) -> None:
        watch.anew = True
        _log.error("unhandled exception in a watch", exc_info=error, extra={"url": watch.url.partition("?")[0]})

    @contextmanager
    def _going_on(self, watch: Watch) -> Iterator[None]:
        """Have a watch polled again, also after an error."""
        try:
            yield
        except Exception as error:
            self._broken(watch, error)
            self._again(watch)

    def _again(self, watch: Watch) -> None:
        watch.polling = False
        if not watch.stopped:
            self.schedule(watch)
