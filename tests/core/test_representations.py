"""What a debugger or a log shows of each object of the core says how far it is."""

import pytest

from service.core.fetching.host_limiter import HostLimiter
from service.core.histogram import Histogram
from service.core.memory_budget import MemoryBudget
from service.core.occurrences import Occurrences
from service.core.overload import Overload
from service.core.owner import Owner
from service.core.pool import Pool
from service.core.topics.hub import HubLimits
from tests.core.readers import FakeReader, Turns, make_hub
from tests.core.test_session import Bench


def full_pool() -> Pool:
    pool = Pool("rings", 100)
    pool.charge(Owner("a"), 30)
    return pool


def busy_histogram() -> Histogram:
    histogram = Histogram((1.0, 2.0))
    histogram.observe(1.5, 3)
    return histogram


def busy_hosts() -> HostLimiter:
    hosts = HostLimiter(2, chance=lambda: 1.0)
    hosts.begin("http://h.example:80")
    return hosts


def happened() -> Occurrences:
    some = Occurrences(lambda: 0.0)
    some.happened()
    some.happened()
    return some


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (full_pool(), "<Pool rings: 30 of 100, 1 owners>"),
        (busy_histogram(), "<Histogram of 3>"),
        (busy_hosts(), "<HostLimiter 1 active, 0 in trouble>"),
        (happened(), "<Occurrences 1 not logged>"),
        (Overload([]), "<Overload normal >"),
        (MemoryBudget(10, int, float), "<MemoryBudget 0 of 10>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_object_shows_how_far_it_is(made: object, shown: str) -> None:
    assert repr(made) == shown


def test_an_object_shows_what_it_is_made_of() -> None:
    hub = make_hub(Turns(), HubLimits())
    hub.publish("t", b"1", 0.0)
    topic = hub.topics["t"]
    reader = FakeReader(topic)
    hub.attach(reader, "oldest")
    assert repr(hub).startswith("<Hub 1 topics, ")
    assert repr(topic).startswith("<Topic t 1..1 ")
    assert repr(reader) == "<FakeReader t at 0 of 1>"
    assert repr(Bench().session) == "<Session 0 topics>"
    assert repr(hub.rings).startswith("<Rings <Pool ")
