"""What is fuzzed: seven readers of hostile input, each with what has to be so for any input.

A target takes bytes and returns; an exception that is none of ours, or a broken promise, is a finding.
"""

import ipaddress
import re
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import orjson
from aiohttp.helpers import is_ip_address
from yarl import URL

from service.core.access.grants import EVERYTHING, Grant
from service.core.errors import SluiceError
from service.core.fetching.batch import BatchLimits, BatchRequest, check_request, flavour_of, item_of
from service.core.fetching.dial_policy import Policy
from service.core.fetching.outcome import Failure
from service.core.fetching.request import FetchRequest
from service.core.fetching.target import LONGEST_URL, Target, check_redirect, check_url
from service.core.jobs.request import JobRequest, kind_of
from service.core.owner import SERVICE, Owner
from service.core.parsing import convert, parse
from service.core.pending import Pending
from service.core.sessions.messages import Broadcast, WatchRequest
from service.core.sessions.session import Session, SessionLimits
from service.upstream.guard import guarded_socket
from tests.core.readers import FakeReader, Turns, make_hub
from tests.fuzz.answers import answers
from tests.fuzz.documents import documents
from tests.fuzz.headers import headers
from tests.fuzz.libcurl import Read, curl_reads
from tests.fuzz.rows import rows

__all__ = ["TARGETS"]

PUBLIC = Policy()
LIMITS = BatchLimits(urls=50)
_BASE = check_url("https://a.example/b/c?d", PUBLIC)


class Backend:
    """The service and the connection of one session: a bug that the session would log is raised here."""

    owner = SERVICE
    draining = False

    def __init__(self) -> None:
        self.hub = make_hub(Turns())
        self.refusals: Counter[tuple[str, str]] = Counter()

    def belong_to(self, grant: Grant) -> None:
        """Take nothing: nobody is counted."""

    def answer(self, text: bytes) -> None:
        raise AssertionError("every answer is at once")

    def hold(self) -> None:
        raise AssertionError("every answer is at once")

    def resume(self) -> None:
        raise AssertionError("every answer is at once")

    def on_bug(self, error: BaseException) -> None:
        raise AssertionError("a bug in sluice") from error

    def new_reader(self, topic: Any, on_lag: Any) -> FakeReader:
        return FakeReader(topic, on_lag)

    def fetch(self, request: BatchRequest, owner: Owner, grant: Grant) -> Any:
        check_request(request, LIMITS)
        raise SluiceError("not here")

    def watch(self, url: str, every: float, select: str | None, hosts: Any, owner: Owner, steps: Any) -> Any:
        assert 1 <= every <= 86_400
        raise SluiceError("not here")

    def job(self, request: JobRequest, owner: Owner, grant: Grant) -> Pending[dict[str, object]]:
        kind_of(request)
        raise SluiceError("not here")

    def cancel(self, batch_id: str) -> int:
        return 0

    def cancel_job(self, job_id: str) -> Pending[dict[str, object]]:
        raise SluiceError("not here")

    def authenticate(self, token: str) -> Grant:
        return EVERYTHING


def messages(data: bytes) -> None:
    """Any text over a WebSocket is answered with JSON-RPC or nothing, and never ends the session otherwise."""
    services = Backend()
    session = Session(services.hub, services, SessionLimits(), services, EVERYTHING)
    for text in (data, b'{"jsonrpc":"2.0","id":1,"method":"ping"}'):
        answer = session.receive(text, 0.0)
        if answer.text:
            reported = orjson.loads(answer.text)
            for one in reported if isinstance(reported, list) else [reported]:
                assert one["jsonrpc"] == "2.0"
                assert ("result" in one) != ("error" in one)
    assert answer.text, "the session goes on"
    session.close()
    assert not services.hub.topics or all(not topic.readers for topic in services.hub.topics.values())


def urls(data: bytes) -> None:
    """No text leads anywhere that is not public, nor elsewhere than by libc's, urllib's, yarl's or curl's reading."""
    text = data.decode("utf-8", "surrogatepass") if _decodes(data) else data.decode("latin-1")
    assert isinstance(_BASE, Target)
    for given in (text, f"http://{text}/", f"http://a.example/{text}"):
        judged = check_url(given, PUBLIC)
        if isinstance(judged, Target):
            _look_at(judged)
            octets = given.encode("utf-8", "surrogateescape").decode("latin-1")
            _compare(judged, curl_reads(octets), given)
    location = data.decode("latin-1").strip(" \t")
    judged = check_redirect(_BASE, location, PUBLIC)
    if isinstance(judged, Target):
        _look_at(judged)
        # curl takes a slash or none after http: for two, goes up a folder for a fragment alone, drops a slash that
        # follows ./, and writes a space in a query as a plus.
        if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/?(?!/)|#|\Z|\.|.*\?.* ", location, re.DOTALL):
            _compare(judged, curl_reads(_BASE.url, location), location)


def _compare(target: Target, curl: Read | None, given: str) -> None:
    """Hold what we would ask for to what curl would, where it takes the text for a URL too."""
    if curl is None or not curl.host.isascii() or re.search("%2e", given, re.IGNORECASE):
        return
    if "[" not in given:
        assert curl.host == target.host or target.host.startswith("xn--"), (target, curl)
    assert (curl.scheme, curl.user, curl.port) == (target.scheme, None, target.port), (target, curl)
    asked = f"{curl.path}?{curl.query or ''}".removesuffix("?")
    assert _written(asked) == _written(target.request_target.removesuffix("?")), (target, curl)


def _written(asked: str) -> str:
    """Write a path and query as we do; curl sends some of what no URL has as it is."""
    encoded = re.sub(r"[^!#-;=?-\[\]_a-z~]", lambda found: f"%{ord(found[0]):02X}", asked)
    return re.sub("%[0-9a-f]{2}", lambda found: found[0].upper(), encoded, flags=re.IGNORECASE)


def _decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _look_at(target: Target) -> None:
    spelled, host = target.url + target.fragment, target.host
    assert re.fullmatch(r"/[!-~]*", target.request_target)
    assert "#" not in target.request_target
    assert target.scheme in ("http", "https")
    assert target.port in PUBLIC.ports
    # Other readers of URLs find the same host, port, path and query in what we send on.
    split, dialled = urlsplit(target.url), URL(target.url, encoded=True)
    assert split.hostname == dialled.raw_host == host
    assert (split.port or {"http": 80, "https": 443}[split.scheme]) == dialled.port == target.port
    assert dialled.raw_path_qs.removesuffix("?") == target.request_target.removesuffix("?")
    assert "@" not in split.netloc
    if len(spelled) <= LONGEST_URL:
        assert check_url(spelled, PUBLIC) == target
    assert target.host != "localhost"
    assert not target.host.endswith(".localhost")
    for address in _readings(host):
        assert _is_public(address), f"{spelled} leads to {address}"
        family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
        guarded_socket(PUBLIC)((family, socket.SOCK_STREAM, 0, "", (str(address), target.port))).close()


def _readings(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return every address that somebody could take the host for: aiohttp, or libc with its many spellings."""
    found: list[Any] = [ipaddress.ip_address(host)] if is_ip_address(host) else []
    for spelling in (host, host.rstrip(".")):
        try:
            found.append(ipaddress.IPv4Address(socket.inet_aton(spelling)))
        except OSError:
            continue
    return found


def _is_public(address: Any) -> bool:
    """Judge by Python's own flags: another list than ours, so that a hole in one shows in the other."""
    if address.version == 6:
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if inner:
            return _is_public(inner)
    return bool(
        address.is_global
        and not (address.is_private or address.is_loopback or address.is_link_local or address.is_multicast)
        and not (address.is_reserved or address.is_unspecified)
    )


def batches(data: bytes) -> None:
    """Any body is a bounded list of requests, each of them to be made or failed, or it is refused."""
    for kind in (BatchRequest, Broadcast, WatchRequest):
        try:
            value = convert(parse(data), kind)
        except SluiceError:
            continue
        if isinstance(value, BatchRequest):
            _take(value)


def _take(request: BatchRequest) -> None:
    try:
        items = check_request(request, LIMITS)
    except SluiceError:
        return
    assert 1 <= len(items) <= LIMITS.urls
    hash(flavour_of(request.options, EVERYTHING.fetch, SERVICE))
    for item in items:
        made = item_of(item, LIMITS)
        assert isinstance(made, FetchRequest | Failure)
        if isinstance(made, FetchRequest):
            assert (made.method or request.options.method) in LIMITS.methods
            for name, value in {**request.options.headers, **(made.headers or {})}.items():
                assert name.lower() not in ("host", "connection", "content-length", "transfer-encoding")
                assert not set(name + value) & set("\r\n\0")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "messages": messages,
    "urls": urls,
    "batches": batches,
    "documents": documents,
    "answers": answers,
    "headers": headers,
    "rows": rows,
}
