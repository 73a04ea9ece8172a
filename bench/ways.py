"""Ways to write: transport, descriptor and aiofastnet, and visits in smaller or larger slices.

What docs/decisions/02-visits.md and 04-direct-writes.md rest on.
"""

import sys
from argparse import ArgumentParser, Namespace
from importlib.util import find_spec
from typing import Any

from bench.rounds import add_round_options, compared
from bench.servers import Bare, Server, Sluice

__all__ = ["add_options", "run"]


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    add_round_options(parser)


def run(options: Namespace) -> dict[str, Any]:
    """Measure, print the table, and return the figures."""
    kinds: list[type[Server]] = [Sluice, _otherwise("writes=transport"), _otherwise("slice=500")]
    kinds += [_otherwise("slice=5000"), Bare, _bare("descriptor")]
    if find_spec("aiofastnet"):
        kinds.append(_bare("aiofastnet"))
    else:
        print("bench: without aiofastnet: pip install aiofastnet", file=sys.stderr)
    with compared(kinds, options) as (_, table):
        return {"clients": options.clients, "rounds": options.rounds, "broadcast": table}


def _otherwise(how: str) -> type[Server]:
    class Otherwise(Sluice):
        """Ours with one decision taken otherwise."""

        name = how

        def command(self) -> list[str]:
            python, _, _, *arguments = super().command()
            return [python, "-m", "bench.peers.sluice_otherwise", how, *arguments]

    return Otherwise


def _bare(how: str) -> type[Server]:
    class Otherwise(Bare):
        """The bare loop, writing otherwise."""

        name = f"bare {how}"

        def command(self) -> list[str]:
            return [*super().command(), how]

    return Otherwise
