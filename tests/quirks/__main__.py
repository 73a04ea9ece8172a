"""``python -m tests.quirks ask [NAME or KIND...]``: ask for some quirks, and print what is not right.

``write`` makes docs/conformance.md anew; ``soak`` is what ``./x bench quirks`` runs.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from time import monotonic

import uvloop

from tests.quirks.conformance import write
from tests.quirks.running import run_all
from tests.quirks.soak import Plan, clean, serve, soak
from tests.quirks.table import QUIRKS


async def ask(names: list[str]) -> int:
    """Ask for the quirks of these kinds, or with these words in their names; return how many are not right."""
    chosen = [q for q in QUIRKS if not names or any(name == q.kind or name in q.name for name in names)]
    begun = monotonic()
    reported = await run_all(chosen)
    wrong = [quirk for quirk in chosen if reported[quirk.name].wrong]
    for quirk in wrong:
        print(f"{quirk.kind} {quirk.name}: {quirk.others}")
        for line in reported[quirk.name].wrong:
            print(f"    {line}")
    print(f"{len(wrong)} of {len(chosen)} are not right ({monotonic() - begun:.1f} s)")
    return len(wrong)


async def _soak(options: argparse.Namespace) -> int:
    plan = Plan(
        options.fetches, options.minutes, options.alone, options.control, options.seed, pauses=options.pauses
    )
    reported = await soak(plan)
    Path(options.json).write_text(json.dumps(reported, indent=1))
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.quirks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    asking = commands.add_parser("ask", help="ask for some, and print what is not right")
    asking.add_argument("names", nargs="*", help="kinds (A4) or parts of names; all without any")
    commands.add_parser("write", help="ask everyone for everything, and write docs/conformance.md")
    soaking = commands.add_parser(
        "soak", help="ask for all of them at random, beside a client that must not notice"
    )
    soaking.add_argument("--fetches", type=int, default=200_000)
    soaking.add_argument("--minutes", type=float, default=10)
    soaking.add_argument("--alone", type=float, default=30, help="seconds for the other client alone")
    soaking.add_argument("--control", type=float, default=30, help="seconds beside another service")
    soaking.add_argument("--seed", type=int, default=1)
    soaking.add_argument("--pauses", action="store_true", help="look for what holds up the loop")
    soaking.add_argument("--json", required=True, help="file for the figures")
    commands.add_parser("serve", help="the soak's upstream")
    cleaning = commands.add_parser("clean", help="the soak's other client")
    cleaning.add_argument("url")
    cleaning.add_argument("port", type=int)
    cleaning.add_argument("out", type=Path)
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    options = _options()
    doing = {
        "ask": lambda: ask(options.names),
        "write": write,
        "soak": lambda: _soak(options),
        "serve": serve,
        "clean": lambda: clean(options.url, options.port, options.out),
    }[options.command]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return min(1, runner.run(doing()) or 0)


if __name__ == "__main__":
    sys.exit(main())
