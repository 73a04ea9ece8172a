"""What is known of jobs at a start."""

import msgspec

from service.core.jobs.kept import KeptJobs
from service.core.jobs.lease import Lease
from service.core.jobs.summary import OVERHEAD, JobState
from service.core.owner import Owner
from tests.core.jobs.jobs import new_job


def test_all_that_a_start_needs_is_known_of_each() -> None:
    kept = KeptJobs()
    first = new_job(1, key="k", size=10, result=msgspec.Raw(b"12345"), output="123")
    leased = new_job(4, state=JobState.RUNNING, keep=1.0, lease=Lease("digest", "claim"))
    kept.add([first, new_job(2, state=JobState.RUNNING), leased])
    kept.add([new_job(3, owner=("b", 1.0, True))])
    assert (kept.agenda.next_due("publish"), kept.running, kept.leased, repr(kept)) == (
        110.0,
        [2],
        [4],
        "<KeptJobs 4>",
    )
    assert kept.keys.rows(Owner("a"), "k") == [1]
    nothing = len(b"null")
    assert kept.held == {Owner("a"): 3 * OVERHEAD + 18 + 2 * nothing, Owner("b"): OVERHEAD + nothing}
