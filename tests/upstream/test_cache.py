"""The cache, rule by rule of RFC 9111, on a clock that the test moves."""

import gc
import time
import tracemalloc
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

import pytest
from hishel import CacheMiss, Headers, Response, StoreAndUse
from hypothesis import given
from hypothesis import strategies as st

from service.core.owner import SERVICE, Owner
from service.upstream.caching.cache import Cache
from service.upstream.caching.rfc9111 import CacheKey, cache_key, request_of, storable

PAGE = "http://h.example/page"
KEY: CacheKey = ("GET", PAGE, (), "")


class Kept:
    """A cache, a clock, and an upstream with prepared answers."""

    def __init__(self, size: int = 1 << 20) -> None:
        # hishel asks the real clock: the wall's time stays near it, and the past is in the answers' dates.
        self.now = time.time()
        self.wrong = 0.0
        """By how much somebody has set the wall clock."""
        self.cache = Cache(size, clock=lambda: self.now, wall=lambda: self.now + self.wrong)

    def answer(
        self,
        headers: dict[str, str],
        *,
        body: bytes = b"body",
        asked: dict[str, str] | None = None,
        status: int = 200,
        ago: float = 0.0,
        url: str = PAGE,
        method: str = "GET",
        anew: bool = False,
        owner: Owner = SERVICE,
    ) -> None:
        key = cache_key(method, url, asked or {}, owner.apart)
        question = self.cache.ask(key, asked or {}, owner, anew=anew) if key is not None else None
        if question is not None:
            headers = {"date": formatdate(self.now - ago, usegmt=True), **headers}
            question.answered(status, headers, body, self.now)

    def find(self, asked: dict[str, str] | None = None, *, url: str = PAGE, method: str = "GET") -> bytes | None:
        key = cache_key(method, url, asked or {})
        stored = self.cache.find(key, asked or {}) if key is not None else None
        return stored.body if stored is not None else None

    def conditions(self, asked: dict[str, str] | None = None) -> Mapping[str, str]:
        key = cache_key("GET", PAGE, asked or {})
        assert key is not None
        question = self.cache.ask(key, asked or {}, anew=False)
        assert question is not None
        return question.conditions


@pytest.mark.parametrize(
    ("headers", "ago", "fresh"),
    [
        ({"cache-control": "max-age=60"}, 0, True),
        ({"cache-control": "max-age=60"}, 59, True),
        ({"cache-control": "max-age=60"}, 61, False),
        ({"cache-control": "max-age=60", "age": "61"}, 0, False),
        ({"cache-control": "s-maxage=60, max-age=0"}, 30, True),
        ({"cache-control": "s-maxage=0, max-age=60"}, 30, False),
        ({"cache-control": "no-cache, max-age=60", "etag": '"1"'}, 0, False),
        ({"cache-control": "no-store, max-age=60"}, 0, False),
        ({"cache-control": "private, max-age=60"}, 0, False),
        ({"expires": "Thu, 01 Jan 1970 00:00:00 GMT", "etag": '"1"'}, 0, False),
        ({"expires": "0", "etag": '"1"'}, 0, False),
        ({"expires": formatdate(4e9, usegmt=True)}, 30, True),
        ({"cache-control": "max-age=60", "set-cookie": "id=1"}, 0, False),
        ({"cache-control": "max-age=60", "set-cookie2": "id=1"}, 0, False),
        ({"cache-control": "max-age=60, must-understand"}, 0, True),
        ({"cache-control": "max-age=60", "vary": "*"}, 0, False),
        ({"cache-control": "max-age=60", "vary": "accept, *"}, 0, False),
        ({"cache-control": "max-age=0, max-age=60"}, 1, False),
        ({"cache-control": "max-age=60, max-age=0"}, 1, False),
        ({"cache-control": 'max-age="60"'}, 1, False),
        ({"cache-control": "MAX-AGE=60, Public"}, 1, True),
        ({"cache-control": "no-cache=x,max-age=60"}, 0, False),
        ({"cache-control": 'no-cache="x", max-age=60', "etag": '"1"'}, 0, False),
        ({"cache-control": 'private="x", max-age=60'}, 0, False),
        ({"cache-control": "x=1,no-store,max-age=60"}, 0, False),
        ({"cache-control": "max-age=60", "age": "70, 0"}, 0, False),
        ({"cache-control": "max-age=60", "age": "0, 70"}, 0, True),
        ({"cache-control": "max-age=60", "age": "-70"}, 0, True),
        # Nothing is taken for fresh that its upstream has not dated.
        ({"last-modified": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0, False),
        ({"cache-control": "public", "last-modified": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0, False),
        ({"cache-control": "max-age=" + "9" * 2000}, 0, False),
    ],
)
def test_what_is_fresh(headers: dict[str, str], ago: float, fresh: bool) -> None:
    kept = Kept()
    kept.answer(headers, ago=ago)
    assert (kept.find() is not None) is fresh


@pytest.mark.parametrize(
    ("status", "kept_"), [(200, True), (404, True), (410, True), (500, True), (206, False), (304, False)]
)
def test_statuses(status: int, kept_: bool) -> None:
    kept = Kept()
    kept.answer({"cache-control": "max-age=60"}, status=status)
    assert (kept.find() is not None) is kept_


def test_a_status_that_nobody_knows_is_not_kept_where_it_has_to_be_understood() -> None:
    kept = Kept()
    kept.answer({"cache-control": "must-understand, max-age=60"}, status=299)
    assert kept.find() is None


@pytest.mark.parametrize("wrong", [0.0, -3600.0, 3600.0])
def test_the_age_does_not_depend_on_the_wall_clock(wrong: float) -> None:
    for headers in ({"cache-control": "max-age=5"}, {"cache-control": "max-age=5", "date": ""}):
        kept = Kept()
        kept.answer(headers)
        kept.wrong = wrong
        assert kept.find() is not None
        kept.now += 4
        assert kept.find() is not None
        kept.now += 2
        assert kept.find() is None


def test_an_upstream_with_a_fast_clock_gives_no_more_time_than_it_says() -> None:
    kept = Kept()
    kept.answer({"expires": formatdate(kept.now + 3605, usegmt=True)}, ago=-3600)
    assert kept.find() is not None
    kept.now += 6
    assert kept.find() is None


def test_the_age_of_an_asctime_date_is_counted_in_gmt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XYZ+9")
    time.tzset()
    try:
        kept = Kept()
        kept.answer({"cache-control": "max-age=60", "date": time.asctime(time.gmtime(kept.now - 100))})
        assert kept.find() is None
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_age_is_sent() -> None:
    kept = Kept()
    kept.answer({"cache-control": "max-age=60", "age": "20"}, ago=5)
    stored = kept.cache.find(KEY, {})
    assert stored is not None
    assert stored.aged(kept.now)["age"] == "20"
    assert stored.aged(kept.now + 7)["age"] == "27"


@pytest.mark.parametrize(
    "name", ["User-Agent", "Referer", "Origin", "Accept-Language", "traceparent", "From", "X-Any"]
)
@pytest.mark.parametrize("vary", [{}, {"vary": "accept"}])
def test_what_an_upstream_may_show_of_a_request_is_for_requests_like_it(name: str, vary: dict[str, str]) -> None:
    kept = Kept()
    kept.answer({"cache-control": "public, max-age=60", **vary}, body=b"poison", asked={name: "poison"})
    assert kept.find({name.lower(): "poison"}) == b"poison"
    assert kept.find({name: "mine"}) is None
    assert kept.find({name: "poison", "Accept": "x"}) is None
    assert kept.find() is None


@pytest.mark.parametrize(
    ("status", "alone", "with_headers"),
    [(200, True, True), (301, True, True), (404, True, True), (410, True, True), (400, True, False),
     (405, True, False), (414, True, False), (431, True, False), (500, True, False), (501, True, False)],
)  # fmt: skip
def test_errors_that_headers_may_have_caused_are_not_kept(status: int, alone: bool, with_headers: bool) -> None:
    for asked, expected in (({}, alone), ({f"X-{number}": "x" * 4000 for number in range(5)}, with_headers)):
        kept = Kept()
        kept.answer({"cache-control": "public, max-age=60"}, status=status, asked=asked)
        assert (kept.find(asked) is not None) is expected


def test_credentials_in_any_header_are_kept_apart() -> None:
    kept = Kept()
    for name in ("Cookie", "X-Api-Key"):
        kept.answer({"cache-control": "max-age=60"}, body=b"mine", asked={name: "a"})
        assert kept.find({name: "a"}) == b"mine"
        assert kept.find({name: "b"}) is None
        assert kept.find() is None


@pytest.mark.parametrize(
    ("directives", "kept_"), [("max-age=60", False), ("public, max-age=60", True), ("s-maxage=60", True)]
)
def test_authorization_needs_a_word_of_the_upstream(directives: str, kept_: bool) -> None:
    kept = Kept()
    kept.answer({"cache-control": directives}, asked={"Authorization": "Bearer a"})
    assert (kept.find({"authorization": "Bearer a"}) is not None) is kept_
    assert kept.find({"authorization": "Bearer b"}) is None


@pytest.mark.parametrize("name", ["Range", "Cache-Control", "If-None-Match", "Pragma"])
def test_who_speaks_with_the_upstream_directly_does(name: str) -> None:
    kept = Kept()
    kept.answer({"cache-control": "max-age=60"})
    assert kept.find({name: "x"}) is None
    assert cache_key("GET", PAGE, {name: "x"}) is None


def test_get_and_head_are_distinguished_and_other_methods_bypass_the_cache() -> None:
    kept = Kept()
    kept.answer({"cache-control": "max-age=60"}, method="HEAD")
    assert kept.find() is None
    assert kept.find(method="HEAD") is not None
    assert cache_key("POST", PAGE, {}) is None


def test_what_is_stale_is_validated_and_a_304_makes_it_new() -> None:
    kept = Kept()
    kept.answer({"cache-control": "max-age=60", "etag": '"1"', "last-modified": "yesterday"}, ago=100)
    assert kept.find() is None
    question = kept.cache.ask(KEY, {}, anew=False)
    assert question is not None
    assert question.conditions == {"If-None-Match": '"1"', "If-Modified-Since": "yesterday"}
    stored = question.confirmed({"etag": '"1"', "cache-control": "max-age=90", "x-new": "1"}, kept.now)
    assert stored is not None
    assert (stored.body, stored.headers["x-new"], stored.headers["cache-control"]) == (b"body", "1", "max-age=90")
    assert kept.find() == b"body"
    assert kept.cache.statistics().entries == 1


@pytest.mark.parametrize(
    "headers", [{"set-cookie": "id=1"}, {"cache-control": "private"}, {"cache-control": "no-store"}, {"vary": "*"}]
)
def test_a_304_that_is_for_one_client_alone_ends_what_was_kept_for_all(headers: dict[str, str]) -> None:
    kept = Kept()
    kept.answer({"cache-control": "max-age=60", "etag": '"1"'}, ago=100)
    question = kept.cache.ask(KEY, {}, anew=False)
    assert question is not None
    stored = question.confirmed({"etag": '"1"', **headers}, kept.now)
    assert stored is not None
    assert (stored.body, kept.cache.statistics().entries, kept.cache.pool.used) == (b"body", 0, 0)


def test_what_was_kept_is_given_out_with_the_words_of_its_upstream() -> None:
    kept = Kept()
    kept.answer({"cache-control": "X, max-age=60, max-age=90", "expires": "0"})
    stored = kept.cache.find(KEY, {})
    assert stored is not None
    assert (stored.headers["cache-control"], stored.headers["expires"]) == ("X, max-age=60, max-age=90", "0")


def test_what_was_never_dated_can_be_validated() -> None:
    kept = Kept()
    kept.answer({"etag": 'W/"1"'})
    assert kept.find() is None
    assert kept.conditions() == {"If-None-Match": 'W/"1"'}


@pytest.mark.parametrize("etag", ['"a\x01b"', '"' + "x" * 5000 + '"', "*", "  "])
def test_a_validator_that_cannot_be_sent_back_is_not_sent(etag: str) -> None:
    kept = Kept()
    kept.answer({"etag": etag, "last-modified": "Thu, 01 Jan 1970 00:00:00 GMT"})
    assert kept.conditions() == {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}


def test_a_304_for_something_else_confirms_nothing() -> None:
    kept = Kept()
    kept.answer({"etag": '"1"'})
    question = kept.cache.ask(KEY, {}, anew=False)
    assert question is not None
    assert question.confirmed({"etag": '"2"'}, kept.now) is None


def test_another_variant_is_not_asked_about() -> None:
    kept = Kept()
    kept.answer({"etag": '"1"', "vary": "accept-language"}, asked={"accept-language": "de"})
    assert kept.conditions({"accept-language": "de"}) == {"If-None-Match": '"1"'}
    assert kept.conditions({"accept-language": "en"}) == {}


def test_asking_anew_asks_for_all_and_keeps_the_answer() -> None:
    kept = Kept()
    kept.answer({"cache-control": "max-age=60", "etag": '"1"'}, body=b"old")
    question = kept.cache.ask(KEY, {}, anew=True)
    assert question is not None
    assert question.conditions == {}
    kept.answer({"cache-control": "max-age=60"}, body=b"new", anew=True)
    assert kept.find() == b"new"
    assert kept.cache.statistics().entries == 1


@pytest.mark.parametrize(
    ("directives", "ago", "usable"),
    [
        ("max-age=10, stale-if-error=60", 50, True),
        ("max-age=10, stale-if-error=60", 71, False),
        ("max-age=10", 11, False),
        ("max-age=10, STALE-IF-ERROR=60, stale-if-error=70", 50, True),
        ('max-age=10, stale-if-error=60, no-cache="x"', 50, False),
        ("max-age=10, stale-if-error=60, must-revalidate", 50, False),
    ],
)
def test_what_may_stand_in_for_a_failing_upstream(directives: str, ago: float, usable: bool) -> None:
    kept = Kept()
    kept.answer({"cache-control": directives, "etag": '"1"'}, ago=ago)
    question = kept.cache.ask(KEY, {}, anew=False)
    assert question is not None
    assert (question.stale(kept.now) is not None) is usable


def test_it_is_bounded_and_the_longest_unused_goes_first() -> None:
    kept = Kept(100_000)
    for number in range(100):
        kept.answer({"cache-control": "max-age=60"}, body=bytes(5000), url=f"http://h.example/{number}")
        assert kept.find(url="http://h.example/0") is not None
        assert kept.cache.pool.used <= 100_000
    assert kept.find(url="http://h.example/50") is None
    assert kept.cache.statistics().evicted > 80


A, B = Owner("a"), Owner("b")
FRESH = {"cache-control": "max-age=60"}


def pages(kept: Kept, owner: Owner, count: int) -> int:
    """Return how many of an owner's first pages are kept."""
    return sum(kept.find(url=f"http://{owner}.example/{number}") is not None for number in range(count))


def test_a_client_that_floods_it_pushes_out_what_it_brought_itself() -> None:
    kept = Kept(100_000)
    for number in range(5):
        kept.answer(FRESH, body=bytes(5000), url=f"http://b.example/{number}", owner=B)
    for number in range(100):
        kept.answer(FRESH, body=bytes(5000), url=f"http://a.example/{number}", owner=A)
    assert pages(kept, B, 5) == 5
    assert kept.cache.pool.used > 90_000
    assert kept.cache.pool.refused == kept.cache.statistics().evicted > 80


def test_one_client_alone_has_all_of_it_and_the_next_finds_room() -> None:
    kept = Kept(100_000)
    for number in range(100):
        kept.answer(FRESH, body=bytes(5000), url=f"http://a.example/{number}", owner=A)
    assert kept.cache.pool.held(A) > 90_000
    for number in range(100):
        kept.answer(FRESH, body=bytes(5000), url=f"http://b.example/{number}", owner=B)
    # Who holds most is known within a factor of two.
    assert kept.cache.pool.held(A) > 25_000
    assert kept.cache.pool.held(B) > 25_000


def test_an_answer_that_is_confirmed_stays_with_its_owner() -> None:
    kept = Kept()
    kept.answer({**FRESH, "etag": '"1"'}, ago=70, owner=A)
    question = kept.cache.ask(KEY, {}, B, anew=False)
    assert question is not None
    assert question.confirmed({"etag": '"1"', **FRESH}, kept.now) is not None
    assert kept.cache.pool.held(A) == kept.cache.pool.used > 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from([A, B, SERVICE]),
            st.integers(0, 3),
            st.sampled_from(["accept", "cookie", ""]),
            st.integers(0, 9000),
            st.sampled_from(["max-age=60", "no-store"]),
        ),
        max_size=60,
    )
)
def test_what_is_kept_is_what_is_counted(
    steps: list[tuple[Owner, int, str, int, str]],
) -> None:
    kept = Kept(20_000)
    for owner, page, vary, size, said in steps:
        url = f"http://h.example/{page}"
        kept.answer(
            {"cache-control": said, "vary": vary}, body=bytes(size), url=url, owner=owner, asked={vary or "x": "y"}
        )
        stored = [one for variants in kept.cache._entries.values() for one in variants]
        pool = kept.cache.pool
        assert pool.used == sum(one.size for one in stored) <= 20_000
        for each in (A, B, SERVICE):
            mine = {one for one in stored if one.owner == each}
            assert pool.held(each) == sum(one.size for one in mine)
            assert set(kept.cache._brought.get(each, ())) == mine


def test_nothing_large_drives_all_else_out() -> None:
    kept = Kept(100_000)
    kept.answer({"cache-control": "max-age=60"}, body=bytes(20_000))
    assert kept.find() is None


def test_an_answer_replaces_the_one_before_even_if_its_vary_differs() -> None:
    kept = Kept()
    kept.answer({"cache-control": "max-age=60", "vary": "accept"}, asked={"accept": "x"})
    size = kept.cache.pool.used
    kept.answer({"cache-control": "max-age=60", "vary": "cookie"}, asked={"Accept": "x"})
    assert kept.cache.pool.used == size


def test_a_size_of_nothing_keeps_nothing() -> None:
    kept = Kept(0)
    kept.answer({"cache-control": "max-age=60"})
    assert kept.find() is None
    assert "0 entries" in repr(kept.cache)


@given(
    st.sampled_from([200, 201, 203, 204, 206, 300, 301, 302, 304, 400, 404, 410, 418, 500, 503]),
    st.fixed_dictionaries(
        {"etag": st.just('"1"')},
        optional={
            "expires": st.sampled_from(["0", formatdate(4e9, usegmt=True)]),
            "connection": st.just("keep-alive"),
            "pragma": st.just("no-cache"),
        },
    ),
)
def test_the_shortcut_finds_what_hishel_finds(status: int, headers: dict[str, str]) -> None:
    key: Any = cache_key("GET", PAGE, {})
    found = CacheMiss({"shared": True}, request_of(key, {})).next(Response(status, Headers(headers)))
    expected = dict(found.response.headers) if isinstance(found, StoreAndUse) else None
    kept = storable(key, {}, status, headers)
    assert (kept is None) == (expected is None)
    assert kept is None or {**kept, "connection": ""} == {**(expected or {}), "connection": ""}


def fill(cache: Cache, count: int, fields: int, body: int) -> None:
    for number in range(count):
        headers = {f"x-{field}-{number}": f"the value of {field}" for field in range(fields)}
        question = cache.ask(("GET", f"http://example.com/some/path/{number}", (), ""), {}, anew=False)
        assert question is not None
        question.answered(200, {"cache-control": f"max-age={number}", **headers}, bytes(body), 1.0)


@pytest.mark.parametrize(("fields", "body"), [(3, 0), (3, 20_000), (15, 1000), (50, 0), (1000, 1000)])
def test_an_entry_counts_what_it_takes(fields: int, body: int) -> None:
    count = 200 if fields < 1000 else 50
    fill(Cache(1 << 30, clock=lambda: 1.0), count, fields, body)  # what the first use leaves is not of the entries
    cache = Cache(1 << 30, clock=lambda: 1.0)
    gc.collect()
    tracemalloc.start()
    try:
        fill(cache, count, fields, body)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert cache.pool.used == pytest.approx(taken, rel=0.15)
