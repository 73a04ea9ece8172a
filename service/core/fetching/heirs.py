"""Who has the place of a request whose asker has left: one of those who have joined and still wait for its answer.

A client's places must not be used up by the URLs of others, for as long as these have time. Nor may a client have
more than its share by joining requests of others that leave soon after.
"""

from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.plan import FetchPlan
from service.core.fetching.task import FetchTask

__all__ = ["pass_on"]


def pass_on(plan: FetchPlan, hosts: HostLimiter, leader: FetchTask, others: list[FetchTask]) -> FetchTask | None:
    """Give the place of a request to the first other asker of the same client, or with room in its share.

    Return None where nobody may have it, or where it has no place since it waits for one; nothing changes then.
    """
    origin, shares = leader.place, plan.shares
    if not origin:
        return None
    before = plan.owners.states[leader.group.owner]
    shares.release(before)
    hosts.end(origin, before.name)
    heir, after = leader, before
    for other in others:
        owner = plan.owners.states[other.group.owner]
        if owner is before or not (shares.used_up(owner) or hosts.used_up(origin, owner.name)):
            heir, after = other, owner
            break
    shares.acquire(after)
    hosts.begin(origin, after.name)
    if heir is leader:
        return None
    leader.place, heir.place = "", origin
    plan.released(before)
    return heir
