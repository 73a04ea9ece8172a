"""Lists of jobs, the newest first, a page at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from service.core.jobs.agenda import Agenda, Entry
from service.core.jobs.job import Job
from service.core.jobs.summary import JobState
from service.core.owner import Owner

__all__ = ["list_jobs"]

_LOOKED_AT: Final = 20_000
"""Numbers of rows that one list looks at: 2 ms. Where they have too few jobs, the next list goes on."""


async def list_jobs(
    agenda: Agenda, read: Callable[[int], Awaitable[Job]], *,
    owner: Owner, state: JobState | None, limit: int, before: int, now: float,
) -> tuple[list[Job], int | None]:  # fmt: skip
    """Return jobs of an owner from below a row on, and the row from which to go on; None at the end."""
    rows, after = [], None
    for row in agenda.rows_before(before, _LOOKED_AT):
        entry = agenda.get(row)
        if entry.owner == owner and state in (None, _shown(entry, now)):
            rows.append(row)
            if len(rows) == limit:
                after = row
                break
    else:
        after = before - _LOOKED_AT if before - _LOOKED_AT > 1 else None
    found = await asyncio.gather(*map(read, rows), return_exceptions=True)
    return [one for one in found if isinstance(one, Job)], after


def _shown(entry: Entry, now: float) -> JobState:
    return JobState.QUEUED if entry.state is JobState.SCHEDULED and entry.at <= now else entry.state
