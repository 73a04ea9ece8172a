"""Which jobs a client may have made: the claim ``jobs`` of its token."""

import re
from typing import Final, NamedTuple

from service.core.errors import Forbidden, Unauthorized

__all__ = ["EVERY_JOB", "NO_JOB", "JobPatterns", "read_jobs"]

_MOST: Final = 100
_FUNCTION: Final = re.compile(r"run:[\w.-]{1,128}\*?", re.ASCII)


class JobPatterns(NamedTuple):
    """Kinds of jobs; functions by their names, and beginnings of names."""

    kinds: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    beginnings: tuple[str, ...] = ()

    def check(self, kind: str, name: str | None) -> None:
        """Raise Forbidden for a job that is not covered; ``name`` is that of the function it runs."""
        if kind in self.kinds:
            return
        if name is not None and (name in self.names or name.startswith(self.beginnings)):
            return
        what = f"the function {name!r}" if name is not None else f"jobs of the kind {kind!r}"
        raise Forbidden(f"claim jobs: it does not cover {what}")

    def check_any(self) -> None:
        """Raise Forbidden where no job is covered."""
        if not self.kinds and not self.names and not self.beginnings:
            raise Forbidden("claim jobs: the token does not have it")


NO_JOB: Final = JobPatterns()
EVERY_JOB: Final = JobPatterns(("call", "publish", "fetch", "run"))


def read_jobs(claim: bool | list[str]) -> JobPatterns:
    """Return what a claim covers: all, or kinds, and ``run:NAME`` or ``run:BEGINNING*``; raise Unauthorized."""
    if isinstance(claim, bool):
        return EVERY_JOB if claim else NO_JOB
    if len(claim) > _MOST:
        raise Unauthorized(f"token: claim jobs: {len(claim)} of at most {_MOST} patterns")
    kinds = {one for one in claim if one in EVERY_JOB.kinds}
    wrong = next((one for one in claim if one not in kinds and not _FUNCTION.fullmatch(one)), None)
    if wrong is not None:
        raise Unauthorized(
            f"token: claim jobs: {wrong[:40]!r} is neither a kind of job nor run:NAME or run:BEGINNING*"
        )
    names = {one.removeprefix("run:") for one in claim if one not in kinds}
    return JobPatterns(
        tuple(sorted(kinds)),
        tuple(sorted(name for name in names if not name.endswith("*"))),
        tuple(sorted(name[:-1] for name in names if name.endswith("*"))),
    )
