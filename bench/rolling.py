"""1,000 clients of each kind behind nginx while both instances are restarted: nothing is missing unannounced."""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson

from service.client import Client, Position

ROOT = Path(__file__).parent.parent
MODULE = ROOT / "service" / "edge" / "static" / "sluice.js"
NODE_READER = Path(__file__).parent / "rolling.mjs"
ERRORS = Path("bench-out") / "errors.log"
PATIENCE = 240.0
"""Seconds for all clients to have come as far as they should."""

__all__ = ["add_options", "run", "wrong"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--clients", type=int, default=1000, metavar="N", help="of each kind")
    parser.add_argument(
        "--processes", type=int, default=2, metavar="N", help="of each kind, which share the clients"
    )
    parser.add_argument("--rate", type=float, default=4.0, help="messages a second")
    parser.add_argument("--drain", type=float, default=10.0)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Restart both instances, and return the figures; raises RuntimeError where something is missing."""
    figures, broken = asyncio.run(restarted(options))
    print(", ".join(f"{name} {value}" for name, value in figures.items()))
    if broken:
        raise RuntimeError("; ".join(broken[:10]))
    return figures


class Publisher:
    """Publishes at a steady rate, and knows what was accepted where."""

    def __init__(self, client: Client, rate: float) -> None:
        self.accepted: list[Position] = []
        self._client = client
        self._pause = 1 / rate
        self._stopped = False

    async def run(self) -> None:
        """Publish until it is stopped, and a message "last" then."""
        while not self._stopped:
            self.accepted.append(await self._client.publish("t", len(self.accepted)))
            await asyncio.sleep(self._pause)
        self.accepted.append(await self._client.publish("t", "last"))

    def stop(self) -> None:
        """Publish the last message next."""
        self._stopped = True


class Readers:
    """One process of clients."""

    def __init__(self, kind: str, process: asyncio.subprocess.Process) -> None:
        self.kind = kind
        self._process = process

    async def met(self, epochs: int) -> None:
        """Wait until all clients have met so many epochs."""
        while await self._line() != f"met {epochs}":
            pass

    async def accounts(self) -> list[dict[str, Any]]:
        """Return what the clients have had in the end."""
        while not (line := await self._line()).startswith("["):
            pass
        await self._process.wait()
        return [{"kind": self.kind, **account} for account in orjson.loads(line)]

    async def _line(self) -> str:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE)
        if not line:
            raise RuntimeError(f"a process of {self.kind} clients has ended")
        return line.decode().strip()


async def restarted(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Restart one instance after the other; return the figures, and what is wrong."""
    # Test helpers, which the other benchmarks do without.
    from tests.end_to_end.processes import Process, listening, service
    from tests.end_to_end.proxies import nginx

    begun = time.monotonic()
    serving = ("--drain", str(options.drain))
    async with AsyncExitStack() as stack:
        enter: Callable[[Any], Awaitable[Any]] = stack.enter_async_context

        async def again(process: Process) -> None:
            """Drain an instance; start it again when every client has come to the other one."""
            serve = (sys.executable, "-m", "service", "serve", "--port", str(process.port))
            process.process.send_signal(signal.SIGTERM)
            if await process.ended(options.drain + 30):
                raise RuntimeError("an instance did not end well")
            epochs.append(len(epochs) + 1)
            await asyncio.gather(*(reader.met(epochs[-1]) for reader in readers))
            await enter(listening(*serve, *serving))

        one, two = await enter(service(*serving)), await enter(service(*serving))
        proxy = await enter(nginx(one.port, two.port, tls=False, connections=8192))
        publisher = Publisher(await enter(Client(proxy.url)), options.rate)
        publishing = await enter(asyncio.TaskGroup())
        publishing.create_task(publisher.run())
        readers = [
            await _start(stack, kind, proxy.url, options) for kind in _kinds() for _ in range(options.processes)
        ]
        epochs = [1]
        await asyncio.gather(*(reader.met(1) for reader in readers))
        due = [publisher.accepted[-1]]
        await again(one)
        due.append(publisher.accepted[-1])
        await again(two)
        publisher.stop()
        accounts = [account for reader in readers for account in await reader.accounts()]
    count = options.clients // options.processes * options.processes
    kinds = {kind: sum(one["clients"] for one in accounts if one["kind"] == kind) for kind in _kinds()}
    broken = [f"{kind}: {had} of {count} clients" for kind, had in kinds.items() if had != count]
    broken += [
        f"{account['clients']} {account['kind']} clients: {what}"
        for account in accounts
        for what in wrong(account, publisher.accepted, due)
    ]
    figures = {
        **kinds, "published": len(publisher.accepted), "gone": sum(_gone(account) for account in accounts),
        "wrong": len(broken), "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip
    return figures, broken


def wrong(account: dict[str, Any], accepted: list[Position], due: list[Position]) -> list[str]:
    """Name the messages and reports that a client should have received and did not.

    Every message that was accepted before an instance began to drain (``due``: the last of each), or that the last
    instance accepted, has to be received or reported as gone, and every step from one instance to the next
    reported.
    """
    runs = account["runs"]
    found = list(account["wrong"])
    last = accepted[-1].epoch
    epochs = list(dict.fromkeys(epoch for epoch, *_ in runs))
    if epochs != [*(position.epoch for position in due), last]:
        found.append(f"it has been to {epochs}")
    for position in accepted:
        known = position.epoch == last or any(
            position.epoch == one.epoch and position.offset <= one.offset for one in due
        )
        if known and not any(run[0] == position.epoch and run[2] <= position.offset <= run[3] for run in runs):
            found.append(f"{position} is missing")
    return found


def _gone(account: dict[str, Any]) -> int:
    return int(
        account["clients"] * sum(last - first + 1 for _, what, first, last in account["runs"] if what == "gone")
    )


def _kinds() -> list[str]:
    return ["python", *(["javascript"] if shutil.which("node") else [])]


async def _start(stack: AsyncExitStack, kind: str, url: str, options: argparse.Namespace) -> Readers:
    commands = {
        "python": (sys.executable, "-m", "bench.rolling_reader"),
        "javascript": ("node", str(NODE_READER), str(MODULE)),
    }
    ERRORS.parent.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *commands[kind], url, str(options.clients // options.processes), stdout=asyncio.subprocess.PIPE,
        stderr=stack.enter_context(ERRORS.open("a")), limit=1 << 25, cwd=ROOT,
        env={**os.environ, "NODE_PATH": "/usr/share/nodejs"},
    )  # fmt: skip
    stack.push_async_callback(_ended, process)
    return Readers(kind, process)


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
