"""Messages kept by others, in the same batches: redis-server with its append-only file, and NATS JetStream."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from bench.durability.figure import data_folder
from bench.durability.stores import STORES, Store
from bench.processes import settle

__all__ = ["Row", "add_options", "run"]

_SIZE: Final = 200
_TOPICS: Final = 1000


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--batch", type=int, default=100, help="messages under way at once")


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured of one store."""

    name: str
    means: str
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_us: float

    def cells(self, run: str) -> list[str]:
        """Return its row in the table."""
        figures = f"{self.rate:,.0f}", f"{self.p50_ms:.1f}, {self.p99_ms:.1f}", f"{self.cpu_us:.1f}"
        return [self.name, self.means, *figures, run]


@dataclass
class _Entrant:
    store: Store
    rates: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)


def run(options: Namespace) -> list[Row]:
    """Have each store keep batches by turns; return the rows of those that are installed."""
    with data_folder() as folder, ExitStack() as stack:
        entrants = []
        for number, kind in enumerate(_installed()):
            store = kind(options.port + number, folder / kind.name.replace(" ", "-"), _TOPICS, _SIZE)
            stack.callback(store.close)
            entrants.append(_Entrant(store))
        for number in range(options.rounds + 1):
            turn = number % len(entrants)
            for one in entrants[turn:] + entrants[:turn]:
                _round(one, options)
            if not number:
                for one in entrants:  # the first round warms up
                    one.rates, one.times, one.cpu_us = [], [], []
            print(f"  peers: round {number} of {options.rounds}", file=sys.stderr)
    return [_row(one) for one in entrants]


def _installed() -> Iterable[type[Store]]:
    for kind in STORES:
        missing = kind.missing()
        if missing:
            print(f"bench: without {kind.name}: install {missing}", file=sys.stderr)
        else:
            yield kind


def _round(one: _Entrant, options: Namespace) -> None:
    settle(one.store.child)
    before = one.store.child.cpu()
    times = one.store.batches(options.batch, options.seconds / 2)
    kept = len(times) * options.batch
    one.rates.append(kept / sum(times))
    one.times += times
    settle(one.store.child)
    one.cpu_us.append((one.store.child.cpu() - before) / kept * 1e6)


def _row(one: _Entrant) -> Row:
    times = sorted(one.times)
    return Row(
        one.store.name, one.store.means, median(one.rates), times[len(times) // 2] * 1000,
        times[int(len(times) * 0.99)] * 1000, median(one.cpu_us),
    )  # fmt: skip
