"""The fetch engine: ten thousand watchers, fairness, a caller that takes nothing, and one that leaves.

The service has core 0; the upstream (``loadtest origin``) and all clients have core 1.
"""

import asyncio
import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Coroutine
from statistics import mean, median
from typing import Any

import aiohttp
import orjson
import uvloop

from bench.processes import Child

__all__ = ["add_options", "run"]


_PROBES = 3000


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--watchers", type=int, default=10_000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--part", choices=[*_PARTS], help="only this one")


def run(options: Namespace) -> dict[str, Any]:
    """Measure, print, and return the figures."""
    os.sched_setaffinity(0, {1})
    figures: dict[str, Any] = {}
    for name in [options.part] if options.part else _PARTS:
        with _Ends() as ends:
            figures[name] = found = uvloop.run(_PARTS[name](ends, options))
        print(f"{name}: " + ", ".join(f"{what} {value}" for what, value in found.items()), flush=True)
    return figures


class _Ends:
    """An upstream and a service."""

    def __enter__(self) -> "_Ends":
        self.origin = Child([sys.executable, "-m", "loadtest", "origin", "--port", "0"], core=1)
        self.upstream = self.origin.line().split()[-1]
        port = self.upstream.rsplit(":", 1)[1]
        self.service = Child(
            [sys.executable, "-m", "service", "serve", "--port", "0", "--allow-net", "127.0.0.0/8", "--allow-port",
             port, "--batch-linger", "0"],
            core=0,
        )  # fmt: skip
        self.url = self.service.line().split()[-1]
        return self

    def __exit__(self, *more: object) -> None:
        self.service.stop(15)
        self.origin.stop()


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(None))


async def _ledger(ends: _Ends, session: aiohttp.ClientSession, path: str = "/ledger") -> Any:
    async with session.get(ends.upstream + path) as answer:
        return orjson.loads(await answer.read())


async def _watch(ends: _Ends, options: Namespace) -> dict[str, Any]:
    """Count the requests of a minute with ten thousand watchers, and time how a change reaches them."""
    async with _session() as session:
        arrivals: dict[str, list[float]] = {}
        # Static for the count, and another that changes while all of them look.
        still, moving = f"{ends.upstream}/etag/still", f"{ends.upstream}/etag/moving?period=10"
        sockets = [await session.ws_connect(f"{ends.url}/ws") for _ in range(options.watchers)]

        async def read(socket: aiohttp.ClientWebSocketResponse) -> None:
            async for message in socket:
                at = time.monotonic()
                if b"changed" in (data := message.data.encode()):
                    arrivals.setdefault(orjson.loads(data)["params"]["data"]["body"], []).append(at)

        readers = [asyncio.create_task(read(socket)) for socket in sockets]
        for socket in sockets:
            await socket.send_json(_call("watch", url=still, every=1))
        await asyncio.sleep(3)
        await _ledger(ends, session, "/ledger/reset")
        await asyncio.sleep(options.seconds)
        counted = await _ledger(ends, session)
        for socket in sockets:
            await socket.send_json(_call("watch", url=moving, every=1))
        await asyncio.sleep(33)
        for socket in sockets:
            await socket.close()
        await asyncio.gather(*readers)
        await asyncio.sleep(4)
        await _ledger(ends, session, "/ledger/reset")
        await asyncio.sleep(5)
        after = await _ledger(ends, session)
    whole = [sorted(times) for times in arrivals.values() if len(times) == options.watchers]
    spreads = [(times[-1] - times[0]) * 1000 for times in whole]
    return {
        f"requests in {options.seconds} s": counted["kinds"].get("etag", 0),
        "conditional": counted["conditional"],
        "changes that reached all": len(whole),
        "first to last watcher, mean ms": round(mean(spreads)) if spreads else None,
        "requests after all left": after["kinds"].get("etag", 0),
    }


async def _fair(ends: _Ends, options: Namespace) -> dict[str, Any]:
    """Time 99 clients with 10 URLs each, alone, and beside one with 10,000; an origin of 50 ms."""
    async with _session() as session:

        async def small(run: str) -> float:
            begin = time.monotonic()
            await asyncio.gather(
                *(
                    _post(ends, session, [f"{ends.upstream}/slow/50?{run}-{who}-{n}" for n in range(10)])
                    for who in range(99)
                )
            )
            return time.monotonic() - begin

        alone = [await small(f"a{number}") for number in range(3)]
        beside = []
        for number in range(3):
            large = asyncio.create_task(
                _post(ends, session, [f"{ends.upstream}/slow/50?l{number}-{n}" for n in range(10_000)], timeout=120)
            )
            await asyncio.sleep(1)
            beside.append(await small(f"b{number}"))
            large.cancel()
            await asyncio.gather(large, return_exceptions=True)
            await asyncio.sleep(0.5)
        ledger = await _ledger(ends, session)
    return {
        "99 alone, s": round(median(alone), 2),
        "beside 10,000, s": round(median(beside), 2),
        "times": round(median(beside) / median(alone), 2),
        "most at once at the host (limit 20)": ledger["most_active"],
    }


async def _unread(ends: _Ends, options: Namespace) -> dict[str, Any]:
    """See what a caller costs that reads nothing of 10,000 bodies of 100 KiB."""
    async with _session() as session:

        async def others() -> float:
            times = []
            for number in range(_PROBES):
                begin = time.monotonic()
                await _post(ends, session, [f"{ends.upstream}/bytes/1000?{number}-{time.monotonic()}"])
                times.append(time.monotonic() - begin)
            return sorted(times)[int(len(times) * 0.99)] * 1000

        await others()
        before, idle = await others(), ends.service.resident()
        _, writer = await asyncio.open_connection("127.0.0.1", int(ends.url.rsplit(":", 1)[1]), limit=1024)
        urls = [f"{ends.upstream}/bytes/102400?{number}" for number in range(10_000)]
        body = orjson.dumps({"urls": urls, "options": {"cache": "no-store"}})
        head = (
            f"POST /fetch-batch HTTP/1.1\r\nHost: {ends.url[7:]}\r\nContent-Type: application/json\r\n"
            f"Accept: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await asyncio.sleep(5)
        asked = (await _ledger(ends, session))["kinds"]["bytes"]
        after, grown = await others(), ends.service.resident() - idle
        still = (await _ledger(ends, session))["kinds"]["bytes"] - asked - _PROBES
        writer.transport.abort()
    return {
        "grown by, MiB": round(grown / 2**20, 1),
        "its requests after 5 s": still,
        "p99 of another before, ms": round(before, 1),
        "with it, ms": round(after, 1),
        "times": round(after / before, 2),
    }


async def _leaving(ends: _Ends, options: Namespace) -> dict[str, Any]:
    """Time how long the requests of 100 batches live on after their client has gone."""
    async with _session() as session:
        socket = await session.ws_connect(f"{ends.url}/ws")
        for number in range(100):
            urls = [f"{ends.upstream}/slow/60000?{number}-{n}" for n in range(100)]
            await socket.send_json(_call("fetch", urls=urls, options={"timeout": 60}))
        most = await _until(ends, session, lambda active: active >= 20)
        begin = time.monotonic()
        await socket.close()
        await _until(ends, session, lambda active: not active)
        return {"requests at the upstream": most, "all closed after, ms": round((time.monotonic() - begin) * 1000)}


async def _until(ends: _Ends, session: aiohttp.ClientSession, condition: Callable[[int], bool]) -> int:
    while not condition(active := (await _ledger(ends, session))["active"]):  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    return int(active)


async def _post(ends: _Ends, session: aiohttp.ClientSession, urls: list[str], **options: Any) -> None:
    async with session.post(f"{ends.url}/fetch-batch", json={"urls": urls, "options": options}) as answer:
        document = orjson.loads(await answer.read())
        if document["ok"] != len(urls):
            raise RuntimeError(f"{document['failed']} of {len(urls)} failed")


def _call(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


_PARTS: dict[str, Callable[[_Ends, Namespace], Coroutine[Any, Any, dict[str, Any]]]] = {
    "watch": _watch, "fair": _fair, "unread": _unread, "leaving": _leaving,
}  # fmt: skip
