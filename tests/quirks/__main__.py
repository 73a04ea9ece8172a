"""``python -m tests.quirks ask [NAME or KIND...]``: ask for some quirks, and print what is not right.

``write`` makes docs/conformance.md anew.
"""

import argparse
import asyncio
import sys
from time import monotonic

import uvloop

from tests.quirks.conformance import write
from tests.quirks.running import run_all
from tests.quirks.table import QUIRKS


def ask(names: list[str]) -> int:
    """Ask for the quirks of these kinds, or with these words in their names; return how many are not right."""
    chosen = [q for q in QUIRKS if not names or any(name == q.kind or name in q.name for name in names)]
    begun = monotonic()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(run_all(chosen))
    wrong = [quirk for quirk in chosen if told[quirk.name].wrong]
    for quirk in wrong:
        print(f"{quirk.kind} {quirk.name}: {quirk.others}")
        for line in told[quirk.name].wrong:
            print(f"    {line}")
    print(f"{len(wrong)} of {len(chosen)} are not right ({monotonic() - begun:.1f} s)")
    return len(wrong)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.quirks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    asking = commands.add_parser("ask", help="ask for some, and print what is not right")
    asking.add_argument("names", nargs="*", help="kinds (A4) or parts of names; all without any")
    commands.add_parser("write", help="ask everyone for everything, and write docs/conformance.md")
    options = parser.parse_args()
    if options.command == "write":
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(write())
        return 0
    return min(1, ask(options.names))


if __name__ == "__main__":
    sys.exit(main())
