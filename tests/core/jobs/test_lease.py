"""Leases and offers: who may make an attempt, and when it is lost."""

import pytest

from service.core.jobs.events import ProgressEvent
from service.core.jobs.lease import LEASE, Lease, Leases, NotYours, Offer, digest_of
from service.core.jobs.summary import JobState
from tests.core.jobs.jobs import new_job


def test_an_offer_is_that_of_its_token_and_attempt_alone() -> None:
    offer = Offer(digest_of("right"), 2)
    offer.check(digest_of("right"), 2)
    for digest, attempt in ((digest_of("wrong"), 2), (digest_of("right"), 1), ("", 2), ("right", 2)):
        with pytest.raises(NotYours):
            offer.check(digest, attempt)


def test_a_lease_is_that_of_its_token_alone() -> None:
    lease = Lease(digest_of("right"), "claim")
    lease.check(digest_of("right"))
    with pytest.raises(NotYours):
        lease.check(digest_of("wrong"))


def test_a_token_that_is_not_utf8_has_a_digest_of_its_own() -> None:
    assert digest_of("\udc80") != digest_of("\udc81")


def test_a_job_has_its_lease_for_one_attempt() -> None:
    lease = Lease(digest_of("t"), "claim")
    job = new_job()
    for end in (
        lambda: job.lose("gone", 1.0),
        lambda: job.fail("exception", "bad", 1.0, retries=9, chance=0.0),
        lambda: job.stopped(1.0),
    ):
        job.begin("w", lease)
        job.progress(ProgressEvent(done=1.0))
        assert job.lease is lease
        end()
        assert job.lease is None
    assert job.state is JobState.CANCELLED


def lost(leases: Leases, checks: int) -> dict[int, int]:
    """Check so often; return by row at which check it was lost."""
    return {row: check for check in range(1, checks + 1) for row in leases.expire()}


def test_what_is_not_renewed_is_lost_after_its_time_and_once() -> None:
    leases = Leases()
    leases.renew(1)
    leases.renew(2)
    assert lost(leases, 3) == {}
    leases.renew(1)
    assert lost(leases, 3 * LEASE) == {2: LEASE - 3, 1: LEASE}
    assert len(leases) == 0


def test_after_a_start_workers_have_longer_to_come_back() -> None:
    leases = Leases()
    leases.restore(1)
    leases.restore(2)
    assert lost(leases, 1) == {}
    leases.renew(2)
    assert lost(leases, 3 * LEASE) == {2: LEASE, 1: LEASE + 4}


def test_one_that_came_back_at_once_does_not_wait_for_those_that_did_not() -> None:
    leases = Leases()
    leases.restore(1)
    leases.renew(2)
    assert lost(leases, 2 * LEASE) == {2: LEASE, 1: LEASE + 5}


def test_a_lease_that_was_ended_is_not_lost() -> None:
    leases = Leases()
    leases.renew(1)
    assert 1 in leases
    leases.end(1)
    leases.end(1)
    assert lost(leases, 2 * LEASE) == {}
    assert "0 jobs" in repr(leases)
