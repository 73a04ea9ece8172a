"""A soak in quirks: when upstreams misbehave at random, no answer is lost, shifted or mixed, and nobody else notices.

``./x bench quirks`` runs it. Half of what is asked are quirks, half are URLs of the same origins that are as they
should be; connections are kept wherever a quirk allows that, and each body tells which URL it belongs to. Beside it
a client with a token of its own asks a clean origin for one batch after the other.
"""

import asyncio
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import orjson

from loadtest.origin.hostile import HOSTILE
from tests.end_to_end.processes import Process, listening, origin
from tests.quirks.model import Ask, Quirk, body_of, text_of
from tests.quirks.server import Server
from tests.quirks.table import QUIRKS

__all__ = ["Plan", "clean", "serve", "soak"]

_SECRET = "quirks" * 8
_USUAL = ("chrt", "--other", "0")
"""Takes back that clients and upstreams give way: not for the service and its other client."""
_HOSTS = 64
_TIMEOUT = 5.0
_CLEAN = "(clean)"
_BATCH = 100
_CLEAN_BATCH = 50
_STALLS = 0.02
"""The share of what stalls, floods or is very large: each holds a place for seconds."""
_IDENTITY = re.compile(r"\[(127\.[0-9.]+) (\S*)\]")
_NO_QUERY = frozenset({"location-query-alone"})
"""Quirks whose answer depends on the query, which here tells one URL from another."""
_LATE_HOSTS, _LATE = 4000, 3.0
"""Hosts for quirks whose bytes come late, in turn, and the seconds after which what follows is asked there: what is
asked in between on the same connection would be answered by those bytes, as far as anyone can see."""
_HELD_BACK = "unavailable"
"""What happens to a URL whose host is left alone for a while; one that had no turn in its time has no attempt."""
_MAY_KEEP = 64 << 20
"""Bytes that the allocator, the cache and batches of the last seconds may keep."""


def _simple() -> list[Quirk]:
    """Quirks that any path can have."""
    return [
        quirk
        for quirk in QUIRKS
        if quirk.simple and quirk.asks[0].target is None and not quirk.paths and quirk.name not in _NO_QUERY
    ]


def _stalls(quirk: Quirk) -> bool:
    return all(right.event == "failed" and right.error == ("timeout",) for right in quirk.asks[0].right)


async def serve() -> None:
    """Serve the quirks by their paths, at every address, until the process is ended."""
    known = {quirk.path: quirk for quirk in _simple()}
    async with Server({}, known.get).running(None) as server:
        print(f"listening on http://127.0.0.1:{server.ports[0]}", flush=True)
        await asyncio.Event().wait()


@dataclass
class Asked:
    """One URL, and what may come of it."""

    url: str
    name: str
    host: str = ""
    target: str = ""
    right: Callable[[dict[str, Any]], str | None] = field(default=lambda event: None)
    own: frozenset[tuple[str, str]] | None = None
    """Whose body may come; None where no body tells that."""


class Account:
    """The outcome of everything."""

    def __init__(self) -> None:
        self.asked = self.right = self.held_back = 0
        self.missing = self.repeated = self.mixed = self.unended = 0
        self.wrong: Counter[str] = Counter()
        self.examples: dict[str, str] = {}

    def take(self, asked: Asked, events: list[dict[str, Any]]) -> None:
        """Add the events of one URL."""
        self.asked += 1
        if len(events) != 1:
            self.missing += not events
            self.repeated += len(events) > 1
            self._note(asked, f"{len(events)} events")
            return
        event = events[0]
        if asked.own is not None and event["event"] == "result" and self._is_mixed(asked, event):
            self.mixed += 1
            self._note(asked, f"has the body of another: {text_of(event)[:100]!r}")
        elif event.get("error") == _HELD_BACK or event["attempts"] == 0:
            self.held_back += 1
        elif wrong := asked.right(event):
            self._note(asked, wrong)
        else:
            self.right += 1

    def _is_mixed(self, asked: Asked, event: dict[str, Any]) -> bool:
        reported = set(_IDENTITY.findall(text_of(event)))
        return bool(asked.own is not None and reported - asked.own)

    def _note(self, asked: Asked, wrong: str) -> None:
        self.wrong[asked.name] += 1
        self.examples.setdefault(asked.name, f"{asked.url[-60:]}: {wrong[:200]}")


class _Choice:
    """Chooses what is asked next."""

    def __init__(self, port: int, hostile: int, seed: int) -> None:
        self._chance = random.Random(seed)
        self._port = port
        self._hostile = hostile
        quirks = _simple()
        self._stalling = [quirk for quirk in quirks if _stalls(quirk)]
        self._quick = [quirk for quirk in quirks if not _stalls(quirk)]
        self._number = self._late = 0
        self._due: deque[tuple[float, str]] = deque()

    def next(self) -> Asked:
        self._number += 1
        if self._due and self._due[0][0] < time.monotonic():
            return self._clean(self._due.popleft()[1])
        chance = self._chance.random()
        if chance < _STALLS:
            return self._hostile_one() if self._chance.random() < 0.5 else self._quirk(self._stalling)
        return self._quirk(self._quick) if chance < 0.5 else self._clean(self._host())

    def _host(self) -> str:
        return f"127.7.0.{self._chance.randint(1, _HOSTS)}"

    def _late_host(self) -> str:
        self._late = (self._late + 1) % _LATE_HOSTS
        return f"127.9.{self._late // 200}.{self._late % 200 + 1}"

    def answered(self, asked: Asked) -> None:
        """Have what is clean asked for where bytes come late, once they have come."""
        if asked.host.startswith("127.9.") and asked.name != _CLEAN:
            self._due.append((time.monotonic() + _LATE, asked.host))

    def _clean(self, host: str) -> Asked:
        target = f"/clean?{self._number}"
        body = body_of(host, target)

        def right(event: dict[str, Any]) -> str | None:
            return None if event["event"] == "result" and text_of(event) == body else f"{event}"

        return Asked(
            f"http://{host}:{self._port}{target}", _CLEAN, host, target, right, frozenset({(host, target)})
        )

    def _quirk(self, quirks: list[Quirk]) -> Asked:
        quirk = self._chance.choice(quirks)
        host = self._late_host() if quirk.kind == "A2" else self._host()
        target, ask = f"{quirk.path}?{self._number}", quirk.asks[0]
        targets = {right.at or target for right in ask.right}

        def right(event: dict[str, Any]) -> str | None:
            return _wrong(quirk, ask, event, host, target)

        return Asked(
            f"http://{host}:{self._port}{target}", quirk.name, host, target, right,
            frozenset((host, target) for target in targets) if not any(r.anybody for r in ask.right) else None,
        )  # fmt: skip

    def _hostile_one(self) -> Asked:
        name = self._chance.choice(sorted(HOSTILE))
        return Asked(f"http://127.0.0.1:{self._hostile}/hostile/{name}?{self._number}", f"(hostile) {name}")


def _wrong(quirk: Quirk, ask: Ask, event: dict[str, Any], host: str, target: str) -> str | None:
    wrong = [right.wrong(event, host, target) for right in ask.right]
    return " | ".join(map(str, wrong)) if all(wrong) else None


def _token(subject: str) -> str:
    claims = {"sub": subject, "exp": int(time.time()) + 86_400, "fetch": True, "watch": True}
    return jwt.encode({**claims, "subscribe": ["*"], "publish": ["*"]}, _SECRET, "HS256")


def _headers(subject: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {_token(subject)}",
        "Accept": "application/x-ndjson",
        "Content-Type": "application/json",
    }


async def _events(client: aiohttp.ClientSession, url: str, subject: str, urls: list[str]) -> tuple[list[Any], bool]:
    """Return the events of a batch, and whether it came to its end."""
    options = {"timeout": _TIMEOUT, "retries": 0, "max_bytes": 1 << 20, "concurrency": 100}
    body = orjson.dumps({"urls": urls, "options": options})
    async with asyncio.timeout(60):
        async with client.post(f"{url}/fetch-batch", data=body, headers=_headers(subject)) as answer:
            if answer.status != 200:
                return [await answer.text()], False
            events = [orjson.loads(line) async for line in answer.content]
    *rest, done = events
    return rest, done["event"] == "done" and done["total"] == len(urls) == done["ok"] + done["failed"]


async def clean(service_url: str, port: int, out: Path) -> None:
    """Fetch one batch of good URLs after the other; write down when each began, how long it took, what failed."""
    async with aiohttp.ClientSession(read_bufsize=1 << 20) as client:
        number = 0
        with out.open("w") as file:
            while True:
                number += 1
                targets = [f"/clean?{number}-{one}" for one in range(_CLEAN_BATCH)]
                urls = [f"http://127.8.0.1:{port}{target}" for target in targets]
                begun = time.monotonic()
                try:
                    events, ended = await _events(client, service_url, "clean", urls)
                except (TimeoutError, aiohttp.ClientError) as error:
                    events, ended = [str(error)], False
                took = time.monotonic() - begun
                good = {event["index"] for event in events if ended and event["event"] == "result"
                        and text_of(event) == body_of("127.8.0.1", targets[event["index"]])}  # fmt: skip
                failed = _CLEAN_BATCH - len(good)
                file.write(f"{json.dumps([begun, took, failed, str(events)[:300] if failed else ''])}\n")
                file.flush()
                await asyncio.sleep(0.02)


@dataclass
class _State:
    """The service at one moment."""

    descriptors: int
    tasks: float
    resident: int


@dataclass
class Plan:
    """How long and how much."""

    fetches: int = 200_000
    minutes: float = 10.0
    alone: float = 30.0
    """Seconds for the other client alone."""
    control: float = 30.0
    """Seconds in which the quirks are asked of another service on the same machine."""
    seed: int = 1
    pauses: bool = False
    """Whether what holds up the loop is looked for."""


async def _state(client: aiohttp.ClientSession, process: Process) -> _State:
    async with client.get(f"{process.url}/metrics", headers=_headers("clean")) as answer:
        text = await answer.text()
    found = re.search(r"^sluice_tasks (\S+)", text, re.MULTILINE)
    pid = process.process.pid
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return _State(
        len(os.listdir(f"/proc/{pid}/fd")), float(found[1]) if found else -1.0, pages * os.sysconf("SC_PAGE_SIZE")
    )


def _percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


async def _work(
    client: aiohttp.ClientSession, url: str, choice: _Choice, account: Account, fetches: int, seconds: float
) -> None:
    """Ask for this many URLs in this many seconds, in batches, evenly."""
    begun, running = time.monotonic(), set()
    batches = -(-fetches // _BATCH)
    for number in range(batches):
        wait = begun + seconds * number / batches - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        while len(running) >= 20:  # the service is slower than what was asked for
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        task = asyncio.ensure_future(_one(client, url, choice, account))
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.wait(running)


async def _one(client: aiohttp.ClientSession, url: str, choice: _Choice, account: Account) -> None:
    asked = [choice.next() for _ in range(_BATCH)]
    by_index: dict[int, list[dict[str, Any]]] = {}
    try:
        events, ended = await _events(client, url, "soak", [one.url for one in asked])
    except (TimeoutError, aiohttp.ClientError) as error:
        events, ended = [], False
        account.examples.setdefault("(batch)", repr(error))
    account.unended += not ended
    for event in events:
        if isinstance(event, dict) and "index" in event:
            by_index.setdefault(event["index"], []).append(event)
        else:
            account.examples.setdefault("(batch)", str(event)[:300])
    for number, one in enumerate(asked):
        account.take(one, by_index.get(number, []))
        choice.answered(one)


async def soak(plan: Plan) -> dict[str, Any]:
    """Run it, and return the figures and what of the rules held."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))  # who measures goes first
    account, out = Account(), Path(".bench")
    out.mkdir(exist_ok=True)
    log, watched = out / "quirks-clean.txt", out / "quirks-pauses.json"
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        bad = await enter(listening(sys.executable, "-m", "tests.quirks", "serve"))
        hostile = await enter(origin())
        good = await enter(listening(*_USUAL, sys.executable, "-m", "tests.quirks", "serve"))
        ports = [f"--allow-port={process.port}" for process in (bad, hostile, good)]
        limits = ("--allow-net", "127.0.0.0/8", "--batch-age", "5", "--cache-size", "4194304")
        argv = ("serve", "--port", "0", *limits, *ports)
        module = ("tests.quirks.pauses", str(watched)) if plan.pauses else ("service",)
        env = {"SLUICE_JWT_SECRET": _SECRET}
        process = await enter(listening(*_USUAL, sys.executable, "-m", *module, *argv, env=env))
        other = await enter(listening(*_USUAL, sys.executable, "-m", "service", *argv, env=env))
        client = await enter(aiohttp.ClientSession(read_bufsize=1 << 20, connector=aiohttp.TCPConnector(limit=0)))
        asking = await enter(aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)))
        argv = (sys.executable, "-m", "tests.quirks", "clean", process.url, str(good.port), str(log))
        witness = await asyncio.create_subprocess_exec(*_USUAL, *argv)
        try:
            await asyncio.sleep(2.0)  # imports and caches
            marks = [time.monotonic()]
            await asyncio.sleep(plan.alone)
            marks.append(time.monotonic())
            rate = plan.fetches / (plan.minutes * 60)
            choice = _Choice(bad.port, hostile.port, plan.seed + 1)
            await _work(client, other.url, choice, Account(), round(rate * plan.control), plan.control)
            marks.append(time.monotonic())
            before = await _state(asking, process)
            choice = _Choice(bad.port, hostile.port, plan.seed)
            marks.append(time.monotonic())
            await _work(client, process.url, choice, account, plan.fetches, plan.minutes * 60)
            marks.append(time.monotonic())
        finally:
            witness.terminate()
            await witness.wait()
        await client.close()
        after, recovered = await _recover(asking, process, before)
        pauses = await _pauses(process, watched) if plan.pauses else None
    batches = [json.loads(line) for line in log.read_text().splitlines()]
    times = [
        [took for at, took, _, _ in batches if begin <= at < end]
        for begin, end in ((marks[0], marks[1]), (marks[1], marks[2]), (marks[3], marks[4]))
    ]
    failed = [text for _, _, number, text in batches if number]
    result = _result(account, before, after, recovered, times, failed, marks[4] - marks[3])
    return {**result, "pauses": pauses}


async def _pauses(process: Process, watched: Path) -> dict[str, Any]:
    """Return what has held up the loop, and what is in memory."""
    watched.unlink(missing_ok=True)
    process.process.send_signal(signal.SIGUSR2)
    while not watched.exists() or not watched.read_text().endswith("}"):
        await asyncio.sleep(0.1)
    reported: dict[str, Any] = json.loads(watched.read_text())
    return reported


async def _recover(client: aiohttp.ClientSession, process: Process, before: _State) -> tuple[_State, float | None]:
    """Wait until all is as before, for at most 45 s."""
    begun = time.monotonic()
    while True:
        now = await _state(client, process)
        if (
            now.descriptors <= before.descriptors + 2
            and now.tasks <= before.tasks + 2
            and now.resident <= before.resident + _MAY_KEEP
        ):
            return now, time.monotonic() - begun
        if time.monotonic() > begun + 45:
            return now, None
        await asyncio.sleep(0.5)


def _result(
    account: Account, before: _State, after: _State, recovered: float | None,
    times: list[list[float]], failed: list[str], seconds: float,
) -> dict[str, Any]:  # fmt: skip
    calm, control, during = times
    alone, beside = _percentile(calm, 0.99) * 1000, _percentile(during, 0.99) * 1000
    rules = {
        "every URL ends in exactly one event": account.missing == account.repeated == 0,
        "every batch ends": account.unended == 0,
        "each body is the one of its own URL": account.mixed == 0,
        "each quirk comes out right": not account.wrong,
        "the clean client never sees a failure": not failed,
        "its p99 is within 1.5 times of its own": beside <= alone * 1.5,
        "descriptors, tasks and memory are back within 45 s": recovered is not None,
    }
    figures = {
        "fetches": account.asked, "seconds": round(seconds, 1), "right": account.right, "held back": account.held_back,
        "wrong": sum(account.wrong.values()), "missing": account.missing, "repeated": account.repeated,
        "of another URL": account.mixed, "clean batches": len(during), "clean failures": len(failed),
        "clean p50 alone ms": round(_percentile(calm, 0.5) * 1000, 1),
        "clean p50 beside ms": round(_percentile(during, 0.5) * 1000, 1),
        "clean p50 beside another service ms": round(_percentile(control, 0.5) * 1000, 1),
        "clean p99 beside another service ms": round(_percentile(control, 0.99) * 1000, 1),
        "clean p99 alone ms": round(alone, 1), "clean p99 beside ms": round(beside, 1),
        "descriptors": f"{before.descriptors} -> {after.descriptors}", "tasks": f"{before.tasks:g} -> {after.tasks:g}",
        "resident MiB": f"{before.resident >> 20} -> {after.resident >> 20}",
        "back after s": round(recovered, 1) if recovered is not None else None,
    }  # fmt: skip
    wrong = {name: [count, account.examples.get(name)] for name, count in account.wrong.most_common(30)}
    return {
        "rules": rules,
        "figures": figures,
        "wrong": wrong,
        "failures": failed[:5],
        "notes": account.examples.get("(batch)"),
    }
