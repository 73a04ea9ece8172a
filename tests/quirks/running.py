"""All quirks at once, through the real process: the outcome of each, and what of it is not right."""

import asyncio
import ssl
import sys
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import orjson
import trustme
import websockets

from tests.end_to_end.processes import ROOT, Process, service
from tests.quirks.model import Ask, Quirk, body_of, text_of
from tests.quirks.server import Server

__all__ = ["Reported", "Surroundings", "run_all", "surroundings", "without_timeouts"]

_OPTIONS = {"timeout": 10, "retries": 0, "concurrency": 500}
_POLLS, _QUIET, _LONGEST = 4, 0.8, 60.0
"""A watch is looked at until it has polled so often and then was quiet for so long, in seconds; nothing takes longer."""
_CLEAN = 3
BATCH, SOCKET, COMMAND, CURL, AIOHTTP, BROWSER = range(1, 7)
"""The second byte of the addresses under which each way of asking has the quirks for itself."""


@dataclass
class Reported:
    """The outcome of a quirk over each way of asking, and what is wrong with it."""

    events: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def _host(quirk: Quirk, number: int, way: int) -> str:
    """Return the host under which a way of asking has a quirk."""
    return quirk.sent_as or quirk.host or f"127.{way}.{number >> 8}.{number & 255}"


class Surroundings:
    """The server of quirks, and the hosts of each."""

    def __init__(self, quirks: list[Quirk]) -> None:
        self.quirks = quirks
        numbered = list(enumerate(quirks, 1))
        self.hosts = {
            way: {quirk.name: _host(quirk, number, way) for number, quirk in numbered}
            for way in range(BATCH, BROWSER + 1)
        }
        every = {self.hosts[way][quirk.name]: quirk for way in self.hosts for quirk in quirks}
        self.server = Server(every)
        self.ca = ""

    def host(self, quirk: Quirk, way: int = BATCH) -> str:
        return self.hosts[way][quirk.name]

    def origin(self, quirk: Quirk, way: int = BATCH) -> str:
        host = quirk.host or self.host(quirk, way)
        return f"https://{host}:{self.server.ports[1]}" if quirk.tls else f"http://{host}:{self.server.ports[0]}"

    def url(self, quirk: Quirk, ask: Ask, way: int = BATCH) -> str:
        return self.origin(quirk, way) + quirk.target(ask)

    @property
    def options(self) -> list[str]:
        """What lets the service, or the command, in."""
        return [
            "--allow-net",
            "127.0.0.0/8",
            "--allow-net",
            "::1/128",
            *(f"--allow-port={port}" for port in self.server.ports),
        ]


@asynccontextmanager
async def surroundings(quirks: list[Quirk]) -> AsyncIterator[Surroundings]:
    """Run the server of quirks."""
    around = Surroundings(quirks)
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    named = [around.hosts[way][quirk.name] for way in around.hosts for quirk in quirks if quirk.tls]
    authority.issue_cert(*(named or ["127.0.0.1"])).configure_cert(context)
    with tempfile.TemporaryDirectory() as folder:
        around.ca = str(Path(folder, "ca.pem"))
        authority.cert_pem.write_to_path(around.ca)
        async with around.server.running(None, context):
            yield around


async def run_all(quirks: list[Quirk]) -> dict[str, Reported]:
    """Ask for all of them, over every way, and return the outcome of each by its name."""
    reported = {quirk.name: Reported() for quirk in quirks}
    async with AsyncExitStack() as stack:
        around = await stack.enter_async_context(surroundings(quirks))
        env = {"SSL_CERT_FILE": around.ca, "TZ": "Asia/Tokyo"}
        limits = ["--upstream=1000", "--upstream-client=1000"]
        plain = await stack.enter_async_context(service(*around.options, *limits, env=env))
        careful = await stack.enter_async_context(service(*around.options, *limits, "--robots", env=env))
        client = await stack.enter_async_context(aiohttp.ClientSession(read_bufsize=1 << 22))
        asked = [quirk for quirk in quirks if not quirk.robots and not quirk.watching]
        simple = [quirk for quirk in asked if quirk.simple]
        await asyncio.gather(
            _Batches(around, plain, client, reported).run(asked),
            _Batches(around, careful, client, reported).run([quirk for quirk in quirks if quirk.robots]),
            _over_socket(around, plain, simple, reported),
            _by_command(around, simple, reported),
            *(_watched(around, plain, client, quirk, reported) for quirk in quirks if quirk.watching),
        )
    return reported


class _Batches:
    """The quirks over ``/fetch-batch``, round by round, with clean URLs of the same origins beside and after them."""

    def __init__(
        self, around: Surroundings, process: Process, client: aiohttp.ClientSession, reported: dict[str, Reported]
    ) -> None:
        self._around = around
        self._process = process
        self._client = client
        self._reported = reported

    async def run(self, quirks: list[Quirk]) -> None:
        rounds = max((1 if quirk.at_once else len(quirk.asks) for quirk in quirks), default=0)
        for number in range(rounds):
            asked = [(quirk, ask) for quirk in quirks for ask in _of_round(quirk, number)]
            await asyncio.gather(
                self._ask(asked), self._clean(_quiet(quirks) if number == 0 else [], "/clean/beside")
            )
        await asyncio.sleep(0.6)  # bytes that are late have come
        for number in range(_CLEAN):
            await self._clean(quirks, f"/clean/after-{number}")

    async def _ask(self, asked: list[tuple[Quirk, Ask]]) -> None:
        groups: dict[bytes, list[tuple[Quirk, Ask]]] = defaultdict(list)
        for quirk, ask in asked:
            groups[orjson.dumps({**_OPTIONS, **ask.options})].append((quirk, ask))
        await asyncio.gather(*(self._group(orjson.loads(options), group) for options, group in groups.items()))

    async def _group(self, options: Mapping[str, Any], group: list[tuple[Quirk, Ask]]) -> None:
        meant = [(quirk, ask, target) for quirk, ask in group for target in _targets(quirk, ask)]
        requests = [self._request(quirk, ask, target) for quirk, ask, target in meant]
        events = await _batch(self._client, self._process, requests, options)
        for number, (quirk, ask, target) in enumerate(meant):
            _judge(self._reported[quirk.name], quirk, ask, self._around.host(quirk), events.get(number, []), target)

    def _request(self, quirk: Quirk, ask: Ask, target: str) -> dict[str, Any]:
        request: dict[str, Any] = {"url": self._around.origin(quirk) + target}
        if ask.method:
            request["method"] = ask.method
        if ask.headers:
            request["headers"] = dict(ask.headers)
        return request

    async def _clean(self, quirks: list[Quirk], path: str) -> None:
        """Ask each origin for a URL that is as it should be."""
        # Where robots.txt forbids all, it forbids these too.
        asked = [
            quirk
            for quirk in quirks
            if not quirk.robots or all(right.event == "result" for right in quirk.asks[0].right)
        ]
        urls = [{"url": self._around.origin(quirk) + path} for quirk in asked]
        events = await _batch(self._client, self._process, urls, _OPTIONS)
        for number, quirk in enumerate(asked):
            expected = body_of(self._around.host(quirk), path)
            for event in events.get(number, [{"event": "nothing"}]):
                found = text_of(event) if event["event"] == "result" else f"{event}"
                if found != expected:
                    self._reported[quirk.name].wrong.append(f"the clean {path} beside it is {found[:200]!r}")


def _of_round(quirk: Quirk, number: int) -> list[Ask]:
    if quirk.at_once:
        return list(quirk.asks) if number == 0 else []
    return [quirk.asks[number]] if number < len(quirk.asks) else []


def _targets(quirk: Quirk, ask: Ask) -> list[str]:
    target = quirk.target(ask)
    return [target] if ask.times == 1 else [f"{target}?{number}" for number in range(ask.times)]


def _quiet(quirks: list[Quirk]) -> list[Quirk]:
    """Leave out those whose late bytes would be the answer, as far as anyone can see, to what is asked meanwhile."""
    return [quirk for quirk in quirks if quirk.kind not in ("A2", "A21")]


async def _batch(
    client: aiohttp.ClientSession, process: Process, requests: list[dict[str, Any]], options: Mapping[str, Any]
) -> dict[int, list[dict[str, Any]]]:
    """Return the events of each request; raises AssertionError where the batch does not end as it should."""
    events: dict[int, list[dict[str, Any]]] = defaultdict(list)
    if not requests:
        return events
    body = orjson.dumps({"requests": requests, "options": options})
    headers = {"Accept": "application/x-ndjson", "Content-Type": "application/json"}
    last: dict[str, Any] = {}
    async with client.post(f"{process.url}/fetch-batch", data=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        # A batch that hangs has sent some of its events: whose is missing is the one to look at.
        with suppress(TimeoutError):
            async with asyncio.timeout(_LONGEST):
                async for line in answer.content:
                    last = orjson.loads(line)
                    if "index" in last:
                        events[last["index"]].append(last)
    if last.get("event") == "done":
        assert last["ok"] + last["failed"] == last["total"] == len(requests) == len(events), last
    return events


def _judge(
    reported: Reported, quirk: Quirk, ask: Ask, host: str, events: list[dict[str, Any]], target: str, way: str = ""
) -> None:
    """Look at the events of one request."""
    if not way:
        reported.events += events
    if len(events) != 1:
        reported.wrong.append(f"{way}{len(events)} events for {target}")
        return
    seen = ask.own or target.partition("#")[0]
    wrong = [right.wrong(events[0], host, seen) for right in ask.right]
    if all(wrong):
        reported.wrong.append(f"{way}{target[:60]}: " + " | ".join(dict.fromkeys(str(one) for one in wrong)))


async def _over_socket(
    around: Surroundings, process: Process, quirks: list[Quirk], reported: dict[str, Reported]
) -> None:
    """Ask for some of them over a WebSocket, as many as fit one message."""
    some = quirks[::3]
    urls, size = [], 0
    for quirk in some:
        urls.append(around.url(quirk, quirk.asks[0], SOCKET))
        size += len(urls[-1].encode()) + 4
        if size > 60_000:
            break
    call = {"jsonrpc": "2.0", "id": 1, "method": "fetch", "params": {"urls": urls, "options": _OPTIONS}}
    events: dict[int, list[dict[str, Any]]] = defaultdict(list)
    async with websockets.connect(f"{process.url.replace('http', 'ws')}/ws", max_size=None) as socket:
        await socket.send(orjson.dumps(call).decode())
        while len(events) < len(urls):
            try:
                message = orjson.loads(await asyncio.wait_for(socket.recv(), _LONGEST))
            except TimeoutError:
                break
            data = message.get("params", {}).get("data", {})
            if data.get("event") == "done":
                break
            if "index" in data:
                events[data["index"]].append(data)
            assert "error" not in message, message
    for number, quirk in enumerate(some[: len(urls)]):
        ask = quirk.asks[0]
        _judge(
            reported[quirk.name],
            quirk,
            ask,
            around.host(quirk, SOCKET),
            events[number],
            quirk.target(ask),
            "over WebSocket: ",
        )


async def _by_command(around: Surroundings, quirks: list[Quirk], reported: dict[str, Reported]) -> None:
    """Ask for some of them by ``sluice fetch``."""
    some = quirks[1::3]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "urls")
        path.write_text("".join(around.url(quirk, quirk.asks[0], COMMAND) + "\n" for quirk in some))
        argv = [
            "-m",
            "service",
            "fetch",
            *around.options,
            "--timeout=10",
            "--retries=0",
            "--concurrency=500",
            "-i",
            str(path),
        ]
        out, errors = await _ran(folder, sys.executable, *argv)
    events: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for line in out.splitlines():
        event = orjson.loads(line)
        if "index" in event:
            events[event["index"]].append(event)
    assert "Traceback" not in errors, errors
    for number, quirk in enumerate(some):
        ask = quirk.asks[0]
        _judge(
            reported[quirk.name],
            quirk,
            ask,
            around.host(quirk, COMMAND),
            events[number],
            quirk.target(ask),
            "sluice fetch: ",
        )


async def _ran(folder: str, *argv: str) -> tuple[str, str]:
    """Run to the end, or for as long as a batch may take; return the output and the errors."""
    out, errors = Path(folder, "out"), Path(folder, "errors")
    with out.open("wb") as stdout, errors.open("wb") as stderr:
        child = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, stdout=stdout, stderr=stderr)
        try:
            await asyncio.wait_for(child.wait(), _LONGEST)
        except TimeoutError:
            child.kill()
            await child.wait()
    return out.read_text(), errors.read_text()


async def _watched(
    around: Surroundings,
    process: Process,
    client: aiohttp.ClientSession,
    quirk: Quirk,
    reported: dict[str, Reported],
) -> None:
    """Watch a quirk for as long as three polls take."""
    watching = quirk.watching
    assert watching is not None
    params = {"url": around.origin(quirk) + quirk.path, "every": "1"}
    if watching.select:
        params["select"] = watching.select
    events, ends = reported[quirk.name].events, monotonic() + _LONGEST
    async with client.get(
        f"{process.url}/watch", params=params, headers={"Accept": "application/x-ndjson"}
    ) as answer:
        if answer.status != 200:
            reported[quirk.name].wrong.append(await answer.text())
            return
        reading = asyncio.ensure_future(_listen(answer, events))
        had = -1
        # Until it has polled so often, and nothing has come for a while.
        while monotonic() < ends and not reading.done():
            polled = around.server.visited(around.host(quirk), quirk.path) >= _POLLS
            if polled and had == len(events):
                break
            had = len(events) if polled else -1
            await asyncio.wait([reading], timeout=_QUIET)
        reading.cancel()
        await asyncio.wait([reading])
    found = without_timeouts(events)
    if not any(_fits(expected, found) for expected in watching.reported):
        details = [event.get("detail") for event in events if event["event"] == "error"]
        reported[quirk.name].wrong.append(f"got {str(found)[:300]} {details}")


def without_timeouts(events: Iterable[Mapping[str, Any]]) -> list[tuple[str, str | None]]:
    """Return the events of a watch, each with its body, without polls that timed out.

    None of these upstreams is silent: where everybody waits for a processor, a connection may take longer than a poll.
    """
    found: list[tuple[str, str | None]] = []
    failing = False
    for event in events:
        failed, was = event["event"] == "error", failing
        if failed and event["error"] == "timeout":
            continue
        failing = failed
        if failed != was or event["event"] not in ("error", "recovered"):
            found.append((event["event"], event.get("body")))
    return found


async def _listen(answer: aiohttp.ClientResponse, events: list[dict[str, Any]]) -> None:
    async for line in answer.content:
        event = orjson.loads(line)
        data = event.get("data", event)
        if data["event"] in ("state", "changed", "error", "recovered"):
            events.append(data)


def _fits(expected: Iterable[tuple[str, str | None]], found: list[tuple[str, str | None]]) -> bool:
    wanted = list(expected)
    return len(wanted) == len(found) and all(
        event == reported and body in (None, said)
        for (event, body), (reported, said) in zip(wanted, found, strict=True)
    )
