"""What strangers write into headers, queries, tokens and robots.txt: it has a meaning, none, or a clear refusal.

The first byte says for which reader a text is; each is held to a second, plainer reading.
"""

import json
import re
import time
from calendar import timegm
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from types import SimpleNamespace
from typing import Any

from aiohttp import web
from multidict import CIMultiDict, MultiDict
from yarl import URL

from service.client.transport import _retry_after
from service.client.values import Position as ClientPosition
from service.core.access.callers import caller, caller_key
from service.core.access.grants import ClientLimits, read_claims
from service.core.correlation import parse_request_id, parse_trace
from service.core.errors import SluiceError, Unauthorized
from service.core.fetching.robots import parse_robots
from service.core.sessions.messages import parse_since
from service.core.topics.position import Position
from service.edge.access.origins import AllowedOrigins
from service.edge.access.tokens import SigningKey, Tokens
from service.edge.http.answers import answers_event_stream, wants_ndjson, wants_sse
from service.edge.http.queries import STREAM, check_query
from service.edge.routes.streams import requested_lag, requested_since
from service.upstream.caching.cache_control import CacheControl, cache_control, lifetime_of
from service.upstream.caching.dates import delay_of, seconds_of
from service.upstream.content.media_types import media_type

__all__ = ["headers"]

_LONGEST_DELAY = 2.0**31
_LAST_YEAR = 253_402_300_800.0
"""The end of the year 9999."""
_FIXDATE = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:[0-5]\d GMT", re.ASCII)
_TRUSTED = [ip_network("10.0.0.0/8")]
_PEER = ip_address("10.0.0.1")
_TOKENS = Tokens([SigningKey("HS256", b"s" * 32)])


def headers(data: bytes) -> None:
    """Give a text, as the bytes of a header are, to one reader."""
    if data:
        reader = _READERS[data[0] % len(_READERS)]
        reader(data[1:].decode("latin-1"))


def _cache_control(text: str) -> None:
    said = cache_control({"cache-control": text})
    for seconds in (said.max_age, said.s_maxage, said.stale_if_error):
        assert seconds is None or 0 <= seconds <= _LONGEST_DELAY
    words = {word.strip(" \t").lower() for word in text.split(",")}
    assert "no-store" not in words or '"' in text or "no-store" in said.flags
    lifetime = lifetime_of({"cache-control": text, "expires": text, "date": text}, 0.0)
    assert lifetime is None or 0 <= lifetime <= _LAST_YEAR
    again: CacheControl = cache_control({"cache-control": said.restated(lifetime)})
    assert again.flags == said.flags
    if said.max_age is not None or said.s_maxage is not None:
        assert lifetime_of({"cache-control": said.restated(lifetime)}, 0.0) == lifetime


def _times(text: str) -> None:
    wait = _retry_after({"Retry-After": text.partition("\n")[0], "Date": text.partition("\n")[2]})
    assert wait is None or wait >= 0
    delay, seconds = delay_of(text), seconds_of(text)
    assert delay is None or 0 <= delay <= _LONGEST_DELAY
    assert seconds is None or -62_135_596_800 <= seconds <= _LAST_YEAR
    assert delay is None or seconds is None
    if text.isascii() and text.isdigit() and len(text) < 10:
        assert delay == min(int(text), _LONGEST_DELAY)
    if _FIXDATE.fullmatch(text):
        try:
            expected = timegm(time.strptime(text, "%a, %d %b %Y %H:%M:%S GMT"))
        except ValueError:
            expected = None  # no such day
        assert seconds == expected


def _correlation(text: str) -> None:
    request_id = parse_request_id(text)
    assert request_id is None or re.fullmatch(r"[!-~]{1,128}", request_id)
    parent, _, state = text.partition("\n")
    trace = parse_trace([parent], state.split("\n"))
    if trace is None:
        return
    sent = trace.child("f" * 16)
    assert all(re.fullmatch(r"[ -~]{1,512}", value) for value in sent.values())
    again = parse_trace([sent["traceparent"]], [sent["tracestate"]] if "tracestate" in sent else [])
    assert again is not None
    assert (again.id, again.flags, again.state) == (trace.id, trace.flags, trace.state)


def _hops(text: str) -> None:
    hops = [header.split(",") for header in text.split("\n")]
    found = caller(_PEER, hops, _TRUSTED)
    if found is not None:
        assert len(str(found)) < 40
        key = caller_key(found)
        assert ip_network(key).num_addresses in (1, 1 << 64)
    stranger = ip_address("203.0.113.9")
    assert caller(stranger, hops, _TRUSTED) == stranger, "whom nobody trusts speaks for itself"


def _positions(text: str) -> None:
    try:
        since = parse_since(text)
    except SluiceError:
        since = None
    if isinstance(since, Position):
        assert str(ClientPosition.parse(text)) == f"{since.epoch}:{since.offset}"
        assert since.offset >= 0
    name, _, value = text.partition("=")
    asked: Any = SimpleNamespace(
        headers=CIMultiDict({"Last-Event-ID": value}), query=MultiDict([(name, value), ("since", text)])
    )
    try:
        check_query(asked, STREAM)
        requested_since(asked, "newest")
        requested_lag(asked)
    except SluiceError as error:
        json.dumps(error.detail)


def _robots(text: str) -> None:
    text, _, path = text.rpartition("\n")
    path = "/" + re.sub("[^a-z/]", "", path)[:30]
    rules = parse_robots(text, "sluice")
    longest, expected = 0, True
    for pattern, allowed in (*rules.plain.items(), *rules.patterns):
        if (len(pattern), allowed) > (longest, expected) and _leads(pattern, path):
            longest, expected = len(pattern), allowed
    assert rules.allows(path) is expected
    assert rules.cost(path) >= 0


def _leads(pattern: str, path: str) -> bool:
    """Match a rule a character at a time, with all places where it may stand."""
    places = {0}
    for sign in pattern.removesuffix("$"):
        if sign == "*":
            places = set(range(min(places, default=len(path) + 1), len(path) + 1))
        else:
            places = {at + 1 for at in places if path[at : at + 1] == sign}
    return len(path) in places if pattern.endswith("$") else bool(places)


def _origins(text: str) -> None:
    host, _, origin = text.partition("\n")
    asked: Any = SimpleNamespace(host=host, headers=CIMultiDict({"Origin": origin} if origin else {}))
    admission: Any = SimpleNamespace(scheme=lambda _: "http")
    allowed = AllowedOrigins(hosts=["ours.example"], origins=[], guarded=lambda: False, admission=admission)
    try:
        allowed.check_host(asked)
        answered = allowed.check_origin(asked)
    except (SluiceError, web.HTTPBadRequest):
        return
    assert answered == {}
    assert re.fullmatch(
        r"(ours\.example|localhost|[0-9.]+|\[[0-9a-f:.]+\])(:[0-9]*)?", host, re.ASCII | re.IGNORECASE
    )
    if origin:
        page, own = URL(origin), URL(f"http://{host}")
        assert (page.scheme, page.host, page.port) == (own.scheme, own.host, own.port)


def _tokens(text: str) -> None:
    for token in (text, f"eyJhbGciOiJIUzI1NiJ9.{text}.x"):
        try:
            _TOKENS.verify(token)
        except Unauthorized:
            continue
        raise AssertionError("nobody has signed it")
    try:
        claims = json.loads(text)
    except (ValueError, RecursionError):
        return
    most = ClientLimits(topics=5, rate=2.0, fetches=3, weight=1.0)
    try:
        grant = read_claims(claims, most, 1.0)
    except Unauthorized:
        return
    assert (grant.expires or 0) + 1.0 == grant.until
    for ours, limit in ((grant.limits.topics, 5), (grant.limits.rate, 2), (grant.limits.fetches, 3)):
        assert ours is None or 0 < ours <= limit


def _media(text: str) -> None:
    read = media_type(text)
    assert re.fullmatch(r"(?:[!-~]+/[!-~]+)?", read.essence)
    assert read.essence == read.essence.lower()
    asked: Any = SimpleNamespace(headers=CIMultiDict({"Accept": text}))
    assert not (wants_ndjson(asked) and wants_sse(asked))
    assert answers_event_stream(asked) or not (wants_ndjson(asked) or wants_sse(asked))


_READERS: list[Callable[[str], None]] = [
    _cache_control, _times, _correlation, _hops, _positions, _robots, _origins, _tokens, _media,
]  # fmt: skip
