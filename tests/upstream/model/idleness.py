"""Work that could go on and does not, because a wake-up was lost, even if a later wake-up would make up for it.

And work that cannot, since its owner has no place: its URLs fail in time.
"""

from collections import Counter
from collections.abc import Iterator

from service.core.fetching.task import OFFERED
from tests.upstream.model.engine import Engine

__all__ = ["Idleness"]


class Idleness:
    """Records at each look which work could go on, and since when."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held = Counter[str]()
        """How often a group had a turn, and its listener held it back."""
        hold = engine.runner.plan.owners.hold
        engine.runner.plan.owners.hold = lambda group: (self._held.update((group.id,)), hold(group))[1]  # type: ignore[method-assign]
        self._locked_out: dict[str, tuple[tuple[int, ...], float]] = {}
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

    def locked_out(self, now: float, slack: float) -> str:
        """Describe what waits for its owner's first place for longer than its URLs have time; empty without any."""
        before, self._locked_out = self._locked_out, {}
        plan = self._engine.runner.plan
        for state in plan.owners.states.values():
            if state.active or plan.shares.is_paused(state.name):
                continue
            for backlog in state.backlogs:
                name = backlog.group.id
                where = (backlog.next - len(backlog.ready), state.taken, self._held[name])
                since = before[name][1] if backlog.open and before.get(name, ((), 0.0))[0] == where else now
                self._locked_out[name] = where, since
                if now - since > backlog.group.options.timeout + slack:
                    return f"{name} has had no place of {plan.shares!r} for {now - since:.2f} s"
        return ""

    def _ready(self, now: float) -> Iterator[tuple[tuple[str, ...], object]]:
        """Yield the work that may go on at once, with its position."""
        plan, hosts = self._engine.runner.plan, self._engine.runner.hosts
        for origin, line in self._engine.runner._redirects.waiting.items():
            for owner, turns in line._lines.items():
                if hosts.has_place(origin, now, owner):
                    yield ("a redirect to", origin, "of", owner), turns[0]
        if plan.active >= plan.shares.places:
            return
        for state in plan.owners.states.values():
            if state.offers and state.offers[0].state is OFFERED:
                yield ("what is offered to", state.name), state.offers[0]
        held = self._engine.batches._holding.held
        for name, backlog in plan.owners.backlogs.items():
            if (
                backlog.open
                and name not in held
                and not plan.shares.used_up(plan.owners.states[backlog.group.owner])
            ):
                yield ("what has not begun of", name), backlog.next - len(backlog.ready)
        for origin, host in plan.parking.hosts.items():
            for owner, tasks in host.owners.items():
                if hosts.has_place(origin, now, owner) and not plan.shares.used_up(plan.owners.states[owner]):
                    yield ("what waits at", origin, "of", owner), next(iter(tasks))
