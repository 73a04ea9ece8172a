"""Every case of data/ssrf_cases.txt, through the dialer: not one dial to a refused address."""

import asyncio
import gc
import json
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from service.core.fetching.dial_policy import Policy
from service.core.fetching.target import Refusal, Target, check_redirect, check_url
from service.core.owner import SERVICE, Owner
from service.upstream.failures import failure_of
from service.upstream.guard import (
    AddressRefused,
    AresLookup,
    GuardedResolver,
    LookupFailed,
    NameNotFound,
    NoTurn,
    guarded_socket,
    own_addresses,
)
from service.upstream.http1.answer_turns import AnswerTurns
from service.upstream.http1.dialer import Dialer, DialTiming
from tests.name_server import name_server

CASES = [
    (line.split("\t") + [""] * 3)[:5]
    for line in (Path(__file__).parent.parent / "data" / "ssrf_cases.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
PUBLIC = Policy()


class Dialled(OSError):
    """Stops a dial that the guard let through."""


class Spy:
    """Stands around the guard's socket factory and keeps every address that passes it."""

    def __init__(self, policy: Policy) -> None:
        self.dialled: list[str] = []
        self._guard = guarded_socket(policy)

    def __call__(self, info: Any) -> socket.socket:
        self._guard(info).close()
        self.dialled.append(info[4][0])
        raise Dialled("not in a test")


class FakeLookup:
    """Answers as the case says; the second question gets the second answer."""

    def __init__(self, column: str) -> None:
        self._answers = [answer.split(",") for answer in column.split("|")]
        self.asked = 0

    async def __call__(self, host: str) -> list[str]:
        answer = self._answers[min(self.asked, len(self._answers) - 1)]
        self.asked += 1
        if answer[0] in ("-", "NXDOMAIN", "EMPTY", ""):
            raise NameNotFound(host)
        return answer

    async def close(self) -> None:
        pass


async def dial(url: str, dns: str, policy: Policy = PUBLIC) -> tuple[list[str], int]:
    """Try to fetch as the fetcher does, and return the addresses that were dialled and the look-ups made."""
    target, spy, lookup = check_url(url, policy), Spy(policy), FakeLookup(dns)
    if isinstance(target, Refusal):
        return [], 0
    resolver = GuardedResolver(policy, lookup)
    with pytest.raises((Dialled, AddressRefused, NameNotFound)):
        await Dialer(resolver, spy, AnswerTurns()).dial(target, SERVICE, DialTiming())
    await resolver.close()
    return spy.dialled, lookup.asked


@pytest.mark.parametrize("case", [c for c in CASES if c[1] != "redirect"], ids=lambda c: f"{c[0]}-{c[2][:40]}")
async def test_only_allowed_addresses_are_dialled(case: list[str]) -> None:
    verdict, _, url, dns, _ = case
    dialled, lookups = await dial(json.loads(url), dns)
    if verdict == "allow":
        allowed = set(dns.split("|")[0].split(",")) if dns != "-" else {json.loads(url).split("/")[2].strip("[]")}
        assert dialled
        assert set(dialled) <= allowed
    else:
        assert dialled == []
    assert lookups <= 1


# The endless redirect is a matter of counting: tests/upstream/test_fetcher.py.
REDIRECTS = [c for c in CASES if c[1] == "redirect" and "redirect-loop" not in c[2]]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("case", REDIRECTS, ids=lambda c: c[2][:60])
async def test_a_redirect_inside_is_never_followed(case: list[str], status: int) -> None:
    first = check_url(json.loads(case[2]), PUBLIC)
    assert isinstance(first, Target)
    location = (
        parse_qs(first.request_target.partition("?")[2]).get("to", [""])[0]
        or case[4].split("Location: ")[-1].split(" ")[0]
    )
    hop = check_redirect(first, location, PUBLIC)
    assert isinstance(hop, Refusal) or (case[0] == "allow" and hop.host == first.host), (status, hop)


async def test_a_name_is_resolved_once_for_a_connection_and_the_checked_address_is_dialled() -> None:
    assert await dial("http://rebind.test/", "93.184.215.14|127.0.0.1") == (["93.184.215.14"], 1)


async def test_the_policy_allows_loopback_only_when_configured() -> None:
    from ipaddress import ip_network

    policy = Policy(nets=(ip_network("127.0.0.0/8"),), ports=frozenset({9000}))
    assert (await dial("http://127.0.0.1:9000/", "-", policy))[0] == ["127.0.0.1"]
    assert (await dial("http://localhost:9000/", "127.0.0.1", policy))[0] == ["127.0.0.1"]
    assert (await dial("http://localhost:9000/", "10.0.0.1", policy))[0] == []


def info(address: str, port: int) -> Any:
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port))


@pytest.mark.parametrize(("address", "port"), [("127.0.0.1", 80), ("8.8.8.8", 22), ("nonsense", 80)])
def test_the_socket_factory_refuses_by_itself(address: str, port: int) -> None:
    with pytest.raises(AddressRefused):
        guarded_socket(PUBLIC)(info(address, port))


async def test_equal_questions_under_way_are_asked_once_and_answers_are_kept() -> None:
    lookup = FakeLookup("8.8.8.8")
    resolver = GuardedResolver(PUBLIC, lookup)
    await asyncio.gather(*(resolver.resolve("a.example") for _ in range(5)))
    await resolver.resolve("a.example")
    assert lookup.asked == 1
    await resolver.close()


@pytest.fixture
async def stuck() -> AsyncIterator[Callable[[], GuardedResolver]]:
    class Stuck(FakeLookup):
        async def __call__(self, host: str) -> list[str]:
            await asyncio.Event().wait()
            raise AssertionError

    resolver = GuardedResolver(PUBLIC, Stuck(""), timeout=5.0)
    yield lambda: resolver
    await resolver.close()


class Mute(FakeLookup):
    """Answers every name but those that begin with ``mute``."""

    async def __call__(self, host: str) -> list[str]:
        if host.startswith("mute"):
            await asyncio.Event().wait()
        return await super().__call__(host)


async def test_many_names_whose_servers_are_mute_hold_up_no_other_client() -> None:
    resolver = GuardedResolver(PUBLIC, Mute("8.8.8.8"), timeout=5.0)
    loop, careless = asyncio.get_running_loop(), Owner("careless")
    mute = [asyncio.ensure_future(resolver.resolve(f"mute{one}.example", careless)) for one in range(300)]
    # It also asks for a name that another client wants, after all of its own.
    mute.append(asyncio.ensure_future(resolver.resolve("shop.example", careless)))
    await asyncio.sleep(0.1)
    assert resolver.asking("shop.example", careless)
    assert not resolver.asking("shop.example", Owner("careful")), "it waits for its own owner's turn alone"
    began = loop.time()
    for name in ("shop.example", "b.example", "c.example"):
        assert await resolver.resolve(name, Owner("careful")) == ["8.8.8.8"]
    assert loop.time() == began
    outcomes = await asyncio.gather(*mute, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes[:48]} == {LookupFailed}
    assert {type(outcome) for outcome in outcomes[48:]} == {NoTurn}
    assert not resolver.asking("shop.example", careless)
    assert resolver.turns.taken == 0
    await resolver.close()


async def test_a_look_up_has_its_time_from_its_begin_on_because_others_wait_for_it() -> None:
    class Slow(FakeLookup):
        async def __call__(self, host: str) -> list[str]:
            await asyncio.sleep(4.0)
            return await super().__call__(host)

    resolver = GuardedResolver(PUBLIC, Slow("8.8.8.8"), lookups=1, spare=1, timeout=5.0)
    one, two = (asyncio.create_task(resolver.resolve(name, Owner("a"))) for name in ("a.example", "b.example"))
    await asyncio.sleep(4.5)
    joined = asyncio.create_task(resolver.resolve("b.example", Owner("b")))
    assert [await task for task in (one, two, joined)] == [["8.8.8.8"]] * 3
    await resolver.close()


async def test_a_name_that_two_clients_wait_for_is_asked_once() -> None:
    lookup = Mute("8.8.8.8")
    resolver = GuardedResolver(PUBLIC, lookup, lookups=1, spare=1)
    tasks = [asyncio.create_task(resolver.resolve("mute.example", Owner("a")))]
    await asyncio.sleep(0.1)
    tasks += [asyncio.create_task(resolver.resolve("shop.example", Owner(owner))) for owner in "aabb"]
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [task.exception() for task in tasks[3:]] == [None, None]
    assert lookup.asked == 1
    await resolver.close()


async def test_an_owner_that_waited_for_a_turn_does_not_prolong_what_another_look_up_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(time, "monotonic", asyncio.get_running_loop().time)
    lookup = Mute("8.8.8.8")
    resolver = GuardedResolver(PUBLIC, lookup, lookups=1, spare=1, timeout=5.0, ttl=10.0)
    mute = asyncio.create_task(resolver.resolve("mute.example", Owner("a")))
    await asyncio.sleep(1)
    waiting = asyncio.create_task(resolver.resolve("shop.example", Owner("a")))
    await asyncio.sleep(0.1)
    await resolver.resolve("shop.example", Owner("b"))
    await asyncio.sleep(5)
    assert await waiting == ["8.8.8.8"]
    assert isinstance(mute.exception(), LookupFailed)
    assert lookup.asked == 1
    await asyncio.sleep(5)
    await resolver.resolve("shop.example", Owner("b"))
    assert lookup.asked == 2
    await resolver.close()


async def test_a_look_up_that_hangs_has_failed(stuck: Callable[[], GuardedResolver]) -> None:
    with pytest.raises(LookupFailed, match="longer than 5 s"):
        await stuck().resolve("slow.example")


@pytest.mark.parametrize(
    ("code", "kind", "reported"),
    [
        (2, LookupFailed, "DNS server returned general failure"),
        (5, LookupFailed, "DNS server refused query"),
        (3, NameNotFound, "Domain name not found"),
        (0, NameNotFound, "DNS server returned answer with no data"),
    ],
)
async def test_the_resolvers_reason_says_whether_the_name_or_its_servers_are_at_fault(
    code: int, kind: type[Exception], reported: str
) -> None:
    async with name_server(code=code) as where:
        lookup = AresLookup(0.3, [where])
        with pytest.raises(NameNotFound) as failed:
            await lookup("name.example")
        assert type(failed.value) is kind
        assert reported in str(failed.value)
        await lookup.close()


async def test_an_asker_that_left_before_a_look_up_failed_leaves_no_exception_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Late(FakeLookup):
        async def __call__(self, host: str) -> list[str]:
            await asyncio.sleep(1)
            raise LookupFailed("refused")

    resolver = GuardedResolver(PUBLIC, Late(""))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(resolver.resolve("a.example", SERVICE), 0.5)
    await asyncio.sleep(1)
    assert not resolver.asking("a.example")
    gc.collect()
    assert [record.message for record in caplog.records] == ["names cannot be looked up"]
    await resolver.close()


async def test_name_servers_that_fail_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(FakeLookup):
        async def __call__(self, host: str) -> list[str]:
            raise LookupFailed("refused")

    resolver = GuardedResolver(PUBLIC, Failing(""))
    for name in ("a.example", "b.example"):
        with pytest.raises(LookupFailed):
            await resolver.resolve(name)
    assert [record.message for record in caplog.records] == ["names cannot be looked up"]
    failure = failure_of(LookupFailed("refused"))
    assert (failure.kind, failure.detail, failure.temporary) == ("dns", "refused", True)
    assert not failure_of(NameNotFound("gone")).temporary
    await resolver.close()


def test_the_hosts_own_addresses_are_found() -> None:
    assert "127.0.0.1" in map(str, own_addresses())
