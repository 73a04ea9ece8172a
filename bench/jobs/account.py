"""Jobs as they were asked for, and their outcomes: which promise is broken; no process, no socket."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Account", "Asked"]

_LAST = frozenset({"done", "failed", "cancelled"})
_LOST = 3
_STOPPING = 11.0
"""Seconds for which a function that runs may go on after its cancel: the service kills it after 10."""


@dataclass
class Asked:
    """One job by its name, which is its key too."""

    kind: str
    due: float
    ids: set[str] = field(default_factory=set)
    """The ids that it was acknowledged with: one, however often it was asked for."""
    cancelled: float | None = None
    """When it was answered that it is cancelled."""
    stopping: bool = False
    """Whether it ran at that time."""
    events: Sequence[str] = ()
    """The names of all of its events; empty if it has not ended in time."""
    error: str = ""


class Account:
    """All jobs of a run, and their effects."""

    def __init__(self) -> None:
        self.jobs: dict[str, Asked] = {}
        self._effects: dict[str, list[float]] = defaultdict(list)

    def __repr__(self) -> str:
        return f"<Account of {len(self.jobs)} jobs>"

    def effect(self, name: str, at: float) -> None:
        """Take what a job has done, and when it began to."""
        self._effects[name].append(at)

    @property
    def several(self) -> list[str]:
        """Names that have made more than one job, though they were their key."""
        return [name for name, job in self.jobs.items() if len(job.ids) != 1]

    @property
    def lost(self) -> list[str]:
        """Jobs that were acknowledged and have not ended."""
        return [name for name, job in self.jobs.items() if not job.events]

    @property
    def ends(self) -> list[str]:
        """Jobs that do not begin with one ``queued`` and end with exactly one last event."""
        return [name for name, job in self.jobs.items() if job.events and not _is_exact(job.events)]

    @property
    def without_effect(self) -> list[str]:
        """Jobs that are done and have done nothing."""
        return [name for name, job in self.jobs.items() if _ended(job, "done") and not self._effects[name]]

    @property
    def early(self) -> list[str]:
        """Jobs that began before they were due."""
        return [name for name, job in self.jobs.items() if any(at < job.due for at in self._effects[name])]

    @property
    def after_cancel(self) -> list[str]:
        """Jobs that began after it was answered that they are cancelled, or ended as anything else."""
        return [name for name, job in self.jobs.items() if job.cancelled is not None and self._ran_on(name, job)]

    def _ran_on(self, name: str, job: Asked) -> bool:
        most = (job.cancelled or 0.0) + _STOPPING * job.stopping
        return not _ended(job, "cancelled") or any(at > most for at in self._effects[name])

    @property
    def failed(self) -> list[str]:
        """Jobs that failed for another reason than three attempts that were lost in a row."""
        return [name for name, job in self.jobs.items() if _ended(job, "failed") and not _is_given_up(job)]

    @property
    def given_up(self) -> int:
        """How many failed because three attempts in a row were lost to kills, which the documents say."""
        return sum(map(_is_given_up, self.jobs.values()))

    @property
    def again(self) -> int:
        """Effects that were repeated: at least once is what is promised."""
        return sum(len(times) - 1 for times in self._effects.values() if times)

    @property
    def broken(self) -> dict[str, list[str]]:
        """By rule: the names of the jobs that break it."""
        rules = ("several", "lost", "ends", "without_effect", "early", "after_cancel", "failed")
        return {rule: found for rule in rules if (found := getattr(self, rule))}


def _is_exact(events: Sequence[str]) -> bool:
    lasts = [name for name in events if name in _LAST]
    return len(lasts) == 1 and events[0] == "queued" and events[-1] == lasts[0] and events.count("queued") == 1


def _ended(job: Asked, how: str) -> bool:
    return bool(job.events and job.events[-1] == how)


def _is_given_up(job: Asked) -> bool:
    return _ended(job, "failed") and job.error == "lost" and job.events.count("started") >= _LOST
