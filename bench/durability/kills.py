"""Kills at random moments under load: what was acknowledged is there, once, at its place, and clients go on."""

import asyncio
import logging
import random
import sys
import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import uvloop

from bench.durability.figure import FULL, MEMORY, Figure, Kind, data_folder
from bench.durability.programs import RING, Programs
from bench.processes import Child

__all__ = ["add_options", "run"]

_CONTROL: Final = 5
"""Kills of a service that keeps nothing: what the same programs then find missing."""
_LONGEST: Final = 0.8
"""Seconds under load until a kill, at most."""
_STARTING: Final = 0.1
"""Share of the kills that come while the service still starts."""
_RINGS: Final = ("--ring-messages", str(RING), "--ring-size", str(64 << 20), "--client-rate", "1e9")


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument(
        "--seed", type=int, default=None, help="of the moments of the kills; default: another each time"
    )


@dataclass
class _Killed:
    """The outcome of a run."""

    programs: Programs
    starting: int = 0
    starts_s: list[float] = field(default_factory=list)


def run(options: Namespace) -> list[Figure]:
    """Kill a service that keeps everything, and a few times one that does not; return the figures."""
    seed = random.randrange(1 << 32) if options.seed is None else options.seed
    print(f"  kills: --seed {seed}", file=sys.stderr)
    # It warns whenever nothing listens at the port.
    logging.getLogger("sluice.client").setLevel(logging.ERROR)
    with data_folder() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        kept = runner.run(_killed(FULL, options.kills, options.port, folder, random.Random(seed)))
        control = runner.run(_killed(MEMORY, _CONTROL, options.port, folder, random.Random(seed)))
    return _figures(options, kept, control)


async def _killed(kind: Kind, kills: int, port: int, folder: Path, chance: random.Random) -> _Killed:
    origin = Child([sys.executable, "-m", "loadtest", "origin", "--port", "0"], core=1)
    child: Child | None = None
    try:
        upstream = origin.line().split()[-1]
        argv = (*_RINGS, "--allow-net", "127.0.0.0/8", "--allow-port", upstream.rsplit(":", 1)[1])
        child = await asyncio.to_thread(kind.start, port, folder, *argv)
        killed = _Killed(Programs(f"http://127.0.0.1:{port}", upstream))
        async with asyncio.timeout(120 + 5 * kills), killed.programs.running():
            for number in range(kills):
                await asyncio.sleep(chance.uniform(0.0, _LONGEST))
                child.kill()
                if chance.random() < _STARTING:
                    child = kind.spawn(port, folder, *argv)
                    await asyncio.sleep(chance.uniform(0.0, median(killed.starts_s or [0.5])))
                    child.kill()
                    killed.starting += 1
                begin = time.monotonic()
                child = await asyncio.to_thread(kind.start, port, folder, *argv)
                killed.starts_s.append(time.monotonic() - begin)
                if number % 20 == 19:
                    print(f"  kills: {number + 1} of {kills}, {killed.programs.progress}", file=sys.stderr)
        return killed
    finally:
        for one in (child, origin):
            if one is not None:
                one.stop(30)


def _figures(options: Namespace, kept: _Killed, control: _Killed) -> list[Figure]:
    ours, theirs = kept.programs, control.programs
    load = f"{options.kills} kills, {kept.starting} more while starting (control: {_CONTROL})"
    rows = [
        Figure(
            "kills: acknowledged, lost", f"{load}; publishes over HTTP and WebSocket", ours.lost, theirs.lost, "0",
            ours.lost_count == 0,
        ),
        Figure(
            "kills: at two places, or received twice", f"{ours.again:,} publishes repeated after an answer",
            str(ours.repeated), str(theirs.repeated), "0", ours.repeated == 0,
        ),
        Figure(
            "kills: places with two contents, out of order", "as answers and all readers have it",
            f"{ours.account.conflicts}, {ours.account.disordered}",
            f"{theirs.account.conflicts}, {theirs.account.disordered}", "0",
            ours.account.conflicts + ours.account.disordered == 0,
        ),
        Figure(
            "kills: resumed with `recovered: true`", f"subscriptions of Python clients; rings of {RING} messages",
            ours.resumed, theirs.resumed, "all", ours.broken == 0,
        ),
        Figure(
            "kills: batches exact", "every URL once, `done` last, what was said before unchanged",
            ours.batches.summary, theirs.batches.summary, "all", ours.batches.exact == ours.batches.begun,
        ),
        Figure(
            "kills: watches went on", "neither a new beginning nor the same state twice",
            ours.watched.summary, theirs.watched.summary, "all", ours.watched.wrong == 0,
        ),
        Figure("kills: start after a kill", "median, longest", _starts(kept), _starts(control)),
    ]  # fmt: skip
    return rows


def _starts(killed: _Killed) -> str:
    return f"{median(killed.starts_s):.2f}, {max(killed.starts_s):.2f} s"
