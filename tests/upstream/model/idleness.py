"""Work that could go on and does not, because a wake-up was lost, even if a later wake-up would make up for it."""

from collections.abc import Iterator

from service.core.fetching.task import OFFERED
from tests.upstream.model.engine import Engine

__all__ = ["Idleness"]


class Idleness:
    """Records at each look which work could go on, and since when."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._since: dict[tuple[str, ...], tuple[object, float]] = {}

    def check(self, now: float, patience: float) -> str:
        """Describe work that has had room for longer than ``patience`` and has not moved; empty without any."""
        before, self._since = self._since, {}
        for what, where in self._ready(now):
            since = before[what][1] if what in before and before[what][0] == where else now
            self._since[what] = where, since
            if now - since > patience:
                return f"{' '.join(what)} could have gone on for {now - since:.2f} s"
        return ""

    def _ready(self, now: float) -> Iterator[tuple[tuple[str, ...], object]]:
        """Yield the work that may go on at once, with its position."""
        plan, hosts = self._engine.runner.plan, self._engine.runner.hosts
        for origin, line in self._engine.runner._redirects.waiting.items():
            for owner, turns in line._lines.items():
                if hosts.has_place(origin, now, owner):
                    yield ("a redirect to", origin, "of", owner), turns[0]
        if plan.active >= plan.places:
            return
        for state in plan.owners.states.values():
            if state.offers and state.offers[0].state is OFFERED:
                yield ("what is offered to", state.name), state.offers[0]
        held = self._engine.batches._holding.held
        for name, backlog in plan.owners.backlogs.items():
            if (
                backlog.open
                and name not in held
                and not plan.owners.used_up(plan.owners.states[backlog.group.owner])
            ):
                yield ("what has not begun of", name), backlog.next - len(backlog.ready)
        for origin, host in plan.parking.hosts.items():
            for owner, tasks in host.owners.items():
                if hosts.has_place(origin, now, owner) and not plan.owners.used_up(plan.owners.states[owner]):
                    yield ("what waits at", origin, "of", owner), next(iter(tasks))
