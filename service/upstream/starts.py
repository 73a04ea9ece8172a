"""What is fetched next, and how: the answers to what the plan decides.

A URL that starts joins a flight, or is answered from the cache, where it can; what is left of it has to be fetched.
"""

import asyncio
from collections.abc import Callable

from service.core.fetching.outcome import INTERNAL, Failure, Fetched, Permit
from service.core.fetching.plan import FetchPlan
from service.core.fetching.task import RUNNING, FetchTask, Rejection, Turn
from service.runtime.containment import report
from service.runtime.timer import WakeUp
from service.upstream.attempts import FetchAttempt, FetchAttempts, attempt_of
from service.upstream.delivery import STEP, Delivery
from service.upstream.fetcher import Fetcher
from service.upstream.flights import Flight, Flights

__all__ = ["Ready", "Starts"]

Ready = tuple[FetchTask, FetchAttempt]
"""A URL that starts, and what has to be fetched for it."""

_NOT_CACHED = Failure("unavailable", "only-if-cached: nothing fresh is stored of it")
_ANOTHER_TRY = 1.0
"""Seconds after which the plan is asked again that failed of a bug."""


class Starts:
    """Asks the plan, and starts what it lets start; ``soon`` has it asked in another turn of the loop."""

    def __init__(
        self, plan: FetchPlan, fetcher: Fetcher, flights: Flights, attempts: FetchAttempts, delivery: Delivery,
        wake_up: WakeUp, soon: Callable[[], None],
    ) -> None:  # fmt: skip
        self.joined = 0
        """URLs that have joined a flight since the start."""
        self._plan = plan
        self._fetcher = fetcher
        self._flights = flights
        self._attempts = attempts
        self._delivery = delivery
        self._wake_up = wake_up
        self._soon = soon
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"<Starts of {self._plan!r}>"

    def next(self) -> Ready | None:
        """Return what has to be fetched now, and how; what can join a flight does, without a task."""
        while self._delivery.turn.left > 0:
            self._delivery.turn.spend(STEP)
            now = self._wake_up.now()
            try:
                decision = self._plan.next(now)
                given = self._start(decision, now) if isinstance(decision, Turn) else decision
            except Exception as error:
                # A bug in what all URLs share: they get another try, after a pause.
                report("internal error in the plan of fetches", error)
                self._loop.call_later(_ANOTHER_TRY, self._soon)
                return None
            if isinstance(given, float):
                self._wake_up.set(given)
                return None
            if isinstance(given, Rejection):
                self._delivery.rejected(given)
            elif given is not None and (ready := self.ready(given)) is not None:
                if self._plan.parking.waiting:
                    self._wake_up.set(self._plan.wake_at())
                return ready
        self._soon()
        return None

    def successor(self, ended: FetchTask) -> Turn | None:
        """Return whose turn it is where the place of a request that has ended goes to its successor."""
        return self._plan.successor(ended, self._wake_up.now()) if self._delivery.turn.left > 0 else None

    def hand_on(self, turn: Turn, landed: FetchTask) -> Ready | None:
        """Use the turn of a successor, or free the place that it was to have."""
        work = None
        try:
            if turn.group.listener.admit(turn.group) is Permit.START:
                work = self._plan.hand_on(turn, landed, self._wake_up.now())
        except Exception as error:
            # The plan is asked next, and has it fail for the URL that it happens to.
            report("a place could not be handed on", error)
        if work is None:
            self._plan.free(landed)
            return None
        return self.ready(work)

    def ready(self, work: FetchTask) -> Ready | None:
        """Return a URL that starts with what has to be fetched for it, if anything has."""
        attempt = self._attempt(work)
        if attempt is None:
            return None
        self._delivery.begins(work, self._fetcher.keeps)
        return work, attempt

    def _start(self, turn: Turn, now: float) -> FetchTask | None:
        """Ask the listener of the group whose turn it is, and return the URL that it lets start now."""
        try:
            permit = turn.group.listener.admit(turn.group)
        except Exception as error:
            self._plan.refuse(turn, INTERNAL, error)
            return None
        if permit is Permit.START:
            return self._plan.start(turn, now)
        if permit is Permit.HOLD:
            self._plan.hold(turn, now)
        else:
            self._plan.refuse(turn, permit)
        return None

    def _attempt(self, work: FetchTask) -> FetchAttempt | None:
        """Return what has to be fetched for a URL that starts, if anything has; a bug fails that URL alone.

        It joins a flight, or is answered from the cache, where it can.
        """
        try:
            if (flight := self._flights.find(work)) is not None:
                self._join(flight, work)
                return None
            attempt = attempt_of(work)
            known = self._fetcher.recall(attempt)
            if known is None and attempt.cache != "only-if-cached":
                return attempt
            self._plan.free(work)
            self._plan.landed(work)
            self._answer(work, known)
        except Exception as error:
            if work.place:
                self._plan.free(work)
            if work.state is RUNNING:
                self._plan.landed(work)
            self._delivery.broken(work.group, work.index, work.attempts, error)
        return None

    def _answer(self, work: FetchTask, known: Fetched | None) -> None:
        """Answer a URL without a request, or have it wait for the memory for that."""
        if known is None:
            self._delivery.rejected(Rejection(work.group, work.index, _NOT_CACHED, 0))
        elif not self._attempts.has_room(known) and (at := self._attempts.postponed(work)):
            self._plan.retry(work, at)
        else:
            self._delivery.known(work, known)

    def _join(self, flight: Flight, work: FetchTask) -> None:
        now = self._loop.time()
        self.joined += 1
        self._plan.free(work)
        work.begun = now
        work.attempts += 1
        if self._flights.join(flight, work):
            self._fetcher.prolong(flight.task, work.deadline - now)
