"""Watches that do not die: validators that cannot be sent, odd statuses, bodies that cannot be read, bugs in sluice."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from service.core.fetching.batch import BatchLimits
from service.core.fetching.outcome import Failure, Fetched
from service.sources.watch import View
from service.sources.watches import Watches, WatchLimits
from service.upstream.attempts import FetchAttempt
from service.upstream.caching.cache import Cache
from service.upstream.content.select_failed import SelectFailed
from service.upstream.fetcher import Fetcher
from service.upstream.runner import Runner
from tests.upstream.servers import Raw, policy_for, target_of
from tests.upstream.test_watches import InProcess, Page, names, reported, watched


class Server(Page):
    """Answers each request by a function of its number and conditions."""

    def __init__(self, answer: Callable[[int, dict[str, str]], Any]) -> None:
        super().__init__()
        self.answer = answer

    @property
    def conditions(self) -> list[dict[str, str]]:
        return [dict(attempt.headers) for _, attempt in self.orders]

    async def __call__(self, attempt: FetchAttempt) -> Fetched | Failure:
        self.orders.append((asyncio.get_running_loop().time(), attempt))
        await asyncio.sleep(0.01)
        answer = self.answer(len(self.orders), dict(attempt.headers))
        if isinstance(answer, Failure | Fetched):
            return answer
        status, headers, body, *truncated = answer
        return Fetched(status, attempt.target, headers, body, truncated=bool(truncated))


@pytest.mark.parametrize("etag", ['"\u20ac1"', '"' + "x" * 5000 + '"', '"\x01"', "*"])
async def test_a_validator_that_cannot_be_sent_back_is_not(etag: str) -> None:
    server = Server(
        lambda number, sent: (200, {"etag": etag, "last-modified": "Sa, 1. M\xe4rz 2026"}, b"%d" % number)
    )
    async with watched(server) as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(4.8)
        assert names(reader) == ["state"] + ["changed"] * 4
        assert server.conditions == [{}] * 5


async def test_an_etag_of_any_bytes_goes_back_as_it_came() -> None:
    etag = '"\xe2\x82\xac"'
    server = Server(lambda number, sent: (304, {}, b"") if sent else (200, {"etag": etag}, b"a"))
    async with watched(server) as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(2.8)
        assert names(reader) == ["state"]
        assert server.conditions[1:] == [{"If-None-Match": etag}] * 2


@pytest.mark.parametrize(
    "refusal", [(400, {}, b"bad"), (431, {}, b""), (412, {}, b""), Failure("invalid_request", "x")]
)
async def test_a_poll_that_is_refused_for_its_validators_is_repeated_at_once_without(refusal: Any) -> None:
    server = Server(lambda number, sent: refusal if sent else (200, {"etag": '"1"'}, b"%d" % number))
    async with watched(server) as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(3.8)
        assert set(names(reader)[1:]) == {"changed"}
        # From then on its upstream is asked without.
        assert [bool(sent) for sent in server.conditions] == [False, True, False, False, False]
        assert server.at[2] - server.at[1] < 0.1


@pytest.mark.parametrize(
    "failure", [(500, {}, b"bad"), (501, {}, b""), Failure("connect", "reset"), Failure("timeout", "late")]
)
async def test_an_upstream_that_fails_for_conditions_alone_is_soon_asked_without(failure: Any) -> None:
    server = Server(lambda number, sent: failure if sent else (200, {"etag": '"1"'}, b"1"))
    async with watched(server) as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(14.8)
        assert names(reader) == ["state", *["error", "recovered"] * 3]
        assert not any(server.conditions[-6:])


async def test_now_and_then_an_error_costs_no_conditions() -> None:
    def answer(number: int, sent: dict[str, str]) -> Any:
        if number % 3 == 0:
            return Failure("protocol", "broken")
        return (304, {}, b"") if sent else (200, {"etag": '"1"'}, b"1")

    server = Server(answer)
    async with watched(server) as bench:
        bench.watch()
        await asyncio.sleep(15.8)
        assert [bool(sent) for sent in server.conditions[:9]] == [False, True, True] * 3
        assert any(server.conditions[-2:])


async def test_a_page_that_is_400_is_a_state_and_is_asked_once_an_interval() -> None:
    server = Server(lambda number, sent: (400, {}, b"no") if number > 1 else (200, {"etag": '"1"'}, b"yes"))
    async with watched(server) as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(4.8)
        assert [event["status"] for event in reported(reader)] == [200, 400]
        assert len(server.orders) == 6


async def test_a_304_that_confirms_something_else_is_asked_again() -> None:
    server = Server(
        lambda number, sent: (304, {"etag": '"2"'}, b"") if sent else (200, {"etag": '"1"'}, b"%d" % (number // 4))
    )
    async with watched(server) as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(2.8)
        assert [event["body"] for event in reported(reader)] == ["0", "1"]
        assert [bool(sent) for sent in server.conditions] == [False, True, False, True, False]


async def test_a_304_of_another_resource_that_a_redirect_leads_to_is_asked_again() -> None:
    """Its ETag may be the same by chance, as a number of its version is."""

    def answer(number: int, sent: dict[str, str]) -> Fetched:
        at = target_of(f"http://a.example/{'one' if number < 3 else 'two'}", policy_for(80))
        headers = {"etag": '"1"'}
        body = b"" if sent else at.request_target.encode()
        return Fetched(304 if sent else 200, at, headers, body, truncated=False)

    server = Server(answer)
    async with watched(server) as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(4.8)
        assert [event["body"] for event in reported(reader)] == ["/one", "/two"]
        assert [bool(sent) for sent in server.conditions] == [False, True, True, False, True, True]


async def test_a_304_to_a_first_poll_is_an_error_until_there_is_an_answer() -> None:
    server = Server(
        lambda number, sent: (304, {"etag": '"1"'}, b"") if number < 4 else (200, {"etag": '"1"'}, b"a")
    )
    async with watched(server) as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(5.8)
        assert names(reader) == ["error", "recovered", "state"]
        assert (
            reported(reader)[0] | {"error": "protocol", "detail": "status 304 to a request without conditions"}
            == reported(reader)[0]
        )
        assert not any(server.conditions[:4])


async def test_a_new_etag_or_charset_for_the_same_body_is_not_a_change() -> None:
    server = Server(
        lambda number, sent: (
            200,
            {"etag": f'W/"{number}"', "content-type": f"text/plain; charset=x{number}"},
            b"a",
        )
    )
    async with watched(server) as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(4.8)
        assert names(reader) == ["state"]
        assert server.conditions[-1] == {"If-None-Match": 'W/"4"'}


async def test_a_part_of_the_document_is_never_compared() -> None:
    server = Server(lambda number, sent: (206, {}, b"par") if number in (2, 3) else (200, {}, b"part"))
    async with watched(server) as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(4.8)
        assert names(reader) == ["state", "error", "recovered"]


async def test_a_body_that_fails_in_the_middle_is_not_a_change() -> None:
    cut = Failure("protocol", "the body ended too early")
    server = Server(lambda number, sent: cut if number in (2, 3) else (200, {}, b"whole"))
    async with watched(server) as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(4.8)
        assert names(reader) == ["state", "error", "recovered"]


async def test_a_body_beyond_the_limit_is_marked_as_cut_and_compared_as_far_as_it_was_read() -> None:
    server = Server(lambda number, sent: (200, {}, b"a" if number < 3 else b"b", True))
    async with watched(server) as bench:
        reader, _ = bench.watch()
        pointed, _ = bench.watch(select="/a")
        await asyncio.sleep(4.8)
        assert [(event["event"], event["truncated"]) for event in reported(reader)] == [
            ("state", True),
            ("changed", True),
        ]
        [error] = reported(pointed)
        assert (error["error"], error["detail"]) == (
            "too_large",
            "select: the body is larger than 1 bytes and was cut",
        )


async def test_a_character_that_is_cut_in_two_makes_no_base64_of_a_text() -> None:
    server = Server(lambda number, sent: (200, {}, "aé".encode()[:-1], True))
    async with watched(server) as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(1)
        assert [(event["encoding"], event["body"]) for event in reported(reader)] == [("utf-8", "a")]


async def test_no_content_is_a_state_and_a_selection_says_with_which_status_it_fails() -> None:
    page = b"<h1>a</h1>"
    server = Server(
        lambda number, sent: {1: (200, {}, page), 2: (204, {}, b"")}.get(number, (404, {}, b"<p>no</p>"))
    )
    async with watched(server) as bench:
        whole, _ = bench.watch()
        part, _ = bench.watch(select="h1")
        await asyncio.sleep(1.8)
        assert [(event["event"], event["status"], event["body"]) for event in reported(whole)] == [
            ("state", 200, page.decode()), ("changed", 204, ""),
        ]  # fmt: skip
        assert reported(part)[-1]["detail"] == "select: the body is empty (status 204)"
        await asyncio.sleep(1)
        assert names(part) == ["state", "error"]


async def test_a_selection_by_the_charset_of_http_and_xml_by_its_type() -> None:
    feed = "<rss><item><title>да</title></item></rss>".encode("koi8-r")
    server = Server(lambda number, sent: (200, {"content-type": "application/rss+xml; charset=koi8-r"}, feed))
    async with watched(server) as bench:
        reader, _ = bench.watch(select="item > title")
        await asyncio.sleep(1)
        assert [(event["body"], event["encoding"]) for event in reported(reader)] == [("да", "utf-8")]


async def test_a_selection_that_found_nothing_is_not_recovered_by_an_upstream_that_is() -> None:
    def answer(number: int, sent: dict[str, str]) -> Any:
        if number in (2, 3):  # it is tried twice
            return Failure("connect", "nobody")
        return (304, {}, b"") if sent else (200, {"etag": '"1"'}, b"<p>a</p>")

    async with watched(Server(answer)) as bench:
        reader, _ = bench.watch(select="h1")
        await asyncio.sleep(4.8)
        assert [event.get("error") for event in reported(reader)] == ["protocol", "connect", "protocol"]


async def test_a_selection_that_fails_by_our_fault_is_tried_again_though_nothing_changed() -> None:
    server = Server(lambda number, sent: (304, {}, b"") if sent else (200, {"etag": '"1"'}, b"<p>a</p>"))
    async with watched(server) as bench:
        bench.watches._polls._selector = Flaky()  # type: ignore[assignment]
        reader, _ = bench.watch(select="p")
        await asyncio.sleep(3.8)
        assert names(reader) == ["error", "recovered", "state"]
        assert reported(reader)[0]["error"] == "unavailable"


class Flaky(InProcess):
    failed = False

    async def select(self, *args: Any, **options: Any) -> bytes:
        if not self.failed:
            self.failed = True
            raise SelectFailed("its process cannot be started", "unavailable")
        return await super().select(*args, **options)


class Bug(InProcess):
    """Has a bug with one selection."""

    async def select(self, body: bytes, select: str, *args: Any, **options: Any) -> bytes:
        if select == "/bug" and body == b'{"a":2}':
            raise RuntimeError("a bug")
        return await super().select(body, select, *args, **options)


async def test_a_bug_in_one_view_stops_neither_the_others_nor_the_next_poll(caplog: Any) -> None:
    server = Server(lambda number, sent: (200, {}, b'{"a":%d}' % number))
    async with watched(server) as bench:
        bench.watches._polls._selector = Bug()  # type: ignore[assignment]
        bug, _ = bench.watch(select="/bug")
        good, _ = bench.watch(select="/a")
        whole, _ = bench.watch()
        with caplog.at_level(logging.ERROR, "sluice.watches"):
            await asyncio.sleep(3.8)
        assert [event["body"] for event in reported(good)] == ["1", "2", "3", "4"]
        assert len(reported(whole)) == 4
        assert reported(bug)[-1]["error"] == "protocol"
        assert [record.getMessage() for record in caplog.records] == ["unhandled exception in a watch"]


class FailingSink:
    def publish(self, view: View, event: object) -> None:
        raise ZeroDivisionError

    def remember(self, view: View, state: str) -> None:
        pass


@pytest.mark.parametrize("broken", ["show", "unchanged", "failed"])
async def test_a_view_that_cannot_be_sent_stops_neither_the_others_nor_the_next_poll(
    broken: str, caplog: Any
) -> None:
    second = {"show": (200, {}, b'{"a":2}'), "unchanged": (304, {}, b""), "failed": (500, {}, b"")}[broken]
    server = Server(lambda number, sent: second if number == 2 else (200, {"etag": '"1"'}, b'{"a":%d}' % number))
    async with watched(server) as bench:
        bench.watch()
        reader, _ = bench.watch(select="/x" if broken == "unchanged" else "/a")
        await asyncio.sleep(0.5)
        bug, *_ = next(iter(bench.watches.watched())).views.values()
        bug.sink = FailingSink()
        bug.failing = "connect" if broken == "unchanged" else None
        await asyncio.sleep(3.3)
        assert len(server.orders) == 4
        assert names(reader)[-1] == {"show": "changed", "unchanged": "error", "failed": "changed"}[broken]
        assert "unhandled exception in a watch" in {record.getMessage() for record in caplog.records}


async def test_a_runner_that_takes_no_poll_is_asked_again(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    async with watched() as bench:
        reader, _ = bench.watch()
        await asyncio.sleep(1.2)
        with monkeypatch.context() as patch:
            patch.setattr(bench.runner, "add", lambda poll: 1 / 0)
            await asyncio.sleep(3)
        bench.page.body = b"two"
        await asyncio.sleep(2)
        assert names(reader) == ["state", "changed"]
        assert {record.getMessage() for record in caplog.records} == {"unhandled exception in a watch"}


@pytest.mark.parametrize(
    "headers",
    [
        'ETag: "\u20ac1"\r\n'.encode(),
        b'ETag: "\xe9"\r\n',
        b'ETag: "' + b"x" * 5000 + b'"\r\n',
        b"Last-Modified: Sa, 1. M\xe4rz 2026\r\n",
        b'ETag: "1"\r\nETag: "2"\r\nLast-Modified: 0\r\n',
        b"ETag: *\r\n",
    ],
)
async def test_a_watch_goes_on_with_any_bytes_as_validators(headers: bytes) -> None:
    async with Raw().running() as server, watched() as bench:
        policy = policy_for(server.port)
        fetcher = Fetcher(policy, Cache(1 << 20, clock=lambda: 0.0))
        runner = Runner(fetcher, BatchLimits(), chance=lambda: 1.0)
        watches = Watches(
            bench.hub,
            runner,
            WatchLimits(),
            policy=policy,
            selector=InProcess(),  # type: ignore[arg-type]
            chance=lambda: 0.5,
        )
        bench.watches = watches
        try:
            reader, _ = bench.watch(server.url)
            for number in range(3):
                server.answer = (b"HTTP/1.1 200 OK\r\n%sContent-Length: 1\r\n\r\n%d" % (headers, number),)
                while len(reported(reader)) <= number:
                    await asyncio.sleep(0.1)
        finally:
            await watches.close()
            await runner.close()
            await fetcher.close()
        assert [(event["event"], event["body"]) for event in reported(reader)] == [
            ("state", "0"), ("changed", "1"), ("changed", "2"),
        ]  # fmt: skip
