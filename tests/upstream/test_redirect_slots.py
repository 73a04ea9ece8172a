"""A redirect to another host gives up its place and gets one there, in turn; or it is in vain."""

import asyncio
from functools import partial

from service.core.fetching.dial_policy import Policy
from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.outcome import Failure
from service.core.fetching.request import FetchRequest
from service.core.fetching.target import Target, check_url
from service.core.fetching.task import FetchTask
from service.core.owner import Owner
from service.upstream.redirect_slots import RedirectSlots
from tests.core.test_plan import batch_of

HERE, THERE = "http://here.example:80", "http://there.example:80"


class Slots:
    """Places at two hosts, by default two each, and how often a place was given up."""

    def __init__(self, places: int = 2, *, shared: bool = False) -> None:
        self.hosts = HostLimiter(places, chance=lambda: 1.0, shared=shared)
        self.freed = 0
        self.slots = RedirectSlots(self.hosts, self.free, asyncio.get_running_loop().time)

    def free(self) -> None:
        self.freed += 1

    def work(self, deadline: float = 10.0, owner: str = "o") -> FetchTask:
        """Return a task that has a place here."""
        target = check_url("http://here.example/", Policy())
        assert isinstance(target, Target)
        batch = batch_of(["http://here.example/"], owner=owner)
        task = FetchTask(batch, 0, FetchRequest("http://here.example/"), target, None)
        task.deadline, task.place = deadline, HERE
        self.hosts.begin(HERE, task.group.owner)
        return task

    def used(self, origin: str) -> int:
        """Return how many places are taken there."""
        count = 0
        while self.hosts.has_place(origin, 0.0):
            self.hosts.begin(origin)
            count += 1
        for _ in range(count):
            self.hosts.end(origin)
        return 2 - count


async def test_a_place_is_exchanged_at_once_where_there_is_room() -> None:
    some = Slots()
    work = some.work()
    assert await some.slots.move(work, THERE) is None
    assert (work.place, some.used(HERE), some.used(THERE), some.freed) == (THERE, 0, 1, 1)


async def test_without_room_they_wait_and_come_in_turn() -> None:
    some = Slots()
    works = [some.work() for _ in range(2)]
    for _ in range(2):
        some.hosts.begin(THERE)
    order: list[int] = []

    async def move(number: int) -> None:
        await some.slots.move(works[number], THERE)
        order.append(number)

    tasks = [asyncio.create_task(move(number)) for number in range(2)]
    await asyncio.sleep(0)
    assert repr(some.slots) == "<RedirectSlots 2 waiting>"
    assert some.used(HERE) == 0, "who waits has no place anywhere"
    for expected in ([0], [0, 1]):
        some.hosts.end(THERE)
        some.slots.admit()
        await asyncio.sleep(0.01)
        assert order == expected
    assert some.used(THERE) == 2
    assert not some.slots.waiting
    await asyncio.gather(*tasks)


async def test_a_redirect_to_a_host_that_opens_too_late_is_in_vain_and_keeps_its_place() -> None:
    some = Slots()
    some.hosts.record(THERE, "slow", 0.0, 0.0, 30.0, None)
    opens = some.hosts.opens_at(THERE)
    work = some.work(deadline=opens / 2)
    failure = await some.slots.move(work, THERE)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.retry_after) == ("unavailable", round(opens, 3))
    assert (work.place, some.freed) == (HERE, 0)


async def test_one_that_is_cancelled_while_it_waits_takes_no_place() -> None:
    some = Slots()
    for _ in range(2):
        some.hosts.begin(THERE)
    task = asyncio.create_task(some.slots.move(some.work(), THERE))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert not some.slots.waiting
    some.hosts.end(THERE)
    some.slots.admit()
    assert some.used(THERE) == 1


async def test_one_that_is_cancelled_in_its_turn_gives_its_place_back() -> None:
    some = Slots()
    for _ in range(2):
        some.hosts.begin(THERE)
    task = asyncio.create_task(some.slots.move(some.work(), THERE))
    await asyncio.sleep(0)
    some.hosts.end(THERE)
    some.slots.admit()
    task.cancel()
    await asyncio.wait([task])
    assert some.used(THERE) == 1
    assert some.freed == 2


async def test_one_that_is_cancelled_in_the_turn_of_an_error_gives_no_place_back() -> None:
    some = Slots()
    for _ in range(2):
        some.hosts.begin(THERE)
    task = asyncio.create_task(some.slots.move(some.work(), THERE))
    await asyncio.sleep(0)

    def odd(*_: object) -> bool:
        raise ValueError("odd")

    right = some.hosts.has_place
    some.hosts.has_place = odd  # type: ignore[method-assign, assignment]
    some.slots.admit()
    some.hosts.has_place = right  # type: ignore[method-assign]
    task.cancel()
    await asyncio.wait([task])
    assert (some.used(THERE), some.freed) == (2, 1)


async def test_an_error_of_one_hosts_state_fails_only_who_waits_there() -> None:
    some = Slots()
    for origin in (THERE, "http://third.example:80"):
        for _ in range(2):
            some.hosts.begin(origin)
    bad = asyncio.create_task(some.slots.move(some.work(), THERE))
    good = asyncio.create_task(some.slots.move(some.work(), "http://third.example:80"))
    await asyncio.sleep(0)
    right = some.hosts.has_place

    def odd(origin: str, now: float, *more: object) -> bool:
        if origin == THERE:
            raise ValueError("odd")
        return right(origin, now)

    some.hosts.has_place = odd  # type: ignore[method-assign, assignment]
    some.hosts.end("http://third.example:80")
    some.slots.admit()
    await asyncio.wait([bad, good])
    assert isinstance(bad.exception(), ValueError)
    assert good.result() is None
    assert not some.slots.waiting


async def test_a_client_leaves_others_a_place_where_its_urls_are_redirected_to_and_they_take_turns() -> None:
    some = Slots(8, shared=True)
    got: list[str] = []

    async def move(owner: str) -> None:
        await some.slots.move(some.work(owner=owner), THERE)
        got.append(owner)

    tasks = [asyncio.create_task(move("a")) for _ in range(20)]
    await asyncio.sleep(0.01)
    assert len(got) == 6, "it leaves a quarter to others"
    tasks += [asyncio.create_task(move("b")) for _ in range(4)]
    await asyncio.sleep(0.01)
    assert got[6:] == ["b", "b"]
    for owner in got[:4]:
        some.hosts.end(THERE, Owner(owner))
        some.slots.admit()
        await asyncio.sleep(0.01)
    assert got[8:] == ["a", "b", "a", "b"], "all that have less than their share take turns"
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert not some.slots.waiting


async def test_who_waits_beside_it_is_notified_where_the_host_has_a_place_and_not_for_its_owner() -> None:
    for places, notified in ((8, ["waits"]), (6, [])):
        some, waits = Slots(places, shared=True), list[str]()
        for number in range(6):
            some.hosts.begin(THERE, Owner("a" if places == 8 else f"{number}"))
        task = asyncio.create_task(some.slots.move(some.work(owner="a"), THERE, partial(waits.append, "waits")))
        await asyncio.sleep(0.01)
        assert (waits, task.done()) == (notified, False), "a host that is full is so for everybody"
        task.cancel()
        await asyncio.wait([task])


async def test_who_waits_beside_it_is_notified_of_a_pause_of_its_owner() -> None:
    some, waits = Slots(8, shared=True), list[str]()
    for number in range(3):
        some.hosts.record(THERE, "slow", float(number), float(number), 99.0, f"/{number}", Owner("a"))
    work = some.work(owner="a", deadline=asyncio.get_running_loop().time() + 0.1)
    failure = await some.slots.move(work, THERE, lambda: waits.append("waits"))
    assert failure is not None
    assert (failure.kind, waits) == ("unavailable", ["waits"])
