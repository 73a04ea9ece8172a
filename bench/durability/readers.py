"""Deliveries to 10,000 readers of a topic that is kept, beside one that is not."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import ClassVar, Final

from bench.durability.figure import FULL, Figure, data_folder
from bench.rounds import compared
from bench.servers import Sluice

__all__ = ["add_options", "run"]

_SLOWER: Final = 1.05


class _Kept(Sluice):
    name = "sluice --data"
    folder: ClassVar[Path]

    def command(self) -> list[str]:
        return [*super().command(), "--data", str(self.folder / "readers"), "--sync", str(FULL.sync)]


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--clients", type=int, default=10_000, help="readers of one topic")


def run(options: Namespace) -> list[Figure]:
    """Broadcast to both by turns; return the figures."""
    sizes = Namespace(clients=options.clients, rounds=max(9, options.rounds), messages=5, size=150)
    with data_folder() as folder:
        _Kept.folder = folder
        with compared([_Kept, Sluice], sizes) as (_, (kept, memory)):
            last, cpu = memory["ratio_last"], memory["ratio_cpu"]
    load = f"one message to {options.clients:,} readers"
    return [
        Figure(
            "readers: the last has it", load, f"{kept['last_ms']:.0f} ms", f"{memory['last_ms']:.0f} ms",
            f"{_SLOWER:g} times (it is {last:.2f})", last <= _SLOWER,
        ),
        Figure(
            "readers: CPU", "a delivery", f"{kept['cpu_us']:.1f} us", f"{memory['cpu_us']:.1f} us",
            f"{_SLOWER:g} times (it is {cpu:.2f})", cpu <= _SLOWER,
        ),
    ]  # fmt: skip
