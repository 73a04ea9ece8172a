"""Quirks: odd answers of upstreams, at random, beside a client that must not notice."""

import json
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

__all__ = ["add_options", "run"]

_OUT = Path("bench-out") / "quirks-last.json"


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--minutes", type=float, default=10, help="for all fetches, evenly (default 10)")
    parser.add_argument("--fetches", type=int, default=200_000, help="how many (default 200,000)")
    parser.add_argument("--alone", type=float, default=30, help="seconds for the other client alone (default 30)")
    parser.add_argument(
        "--control", type=float, default=30, help="seconds for it while another service is asked (default 30)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pauses", action="store_true", help="look for what holds up the loop for over 5 ms")


def run(options: Namespace) -> dict[str, Any]:
    """Soak, and print what held."""
    _OUT.parent.mkdir(exist_ok=True)
    given = {
        "--minutes": options.minutes,
        "--fetches": options.fetches,
        "--alone": options.alone,
        "--control": options.control,
        "--seed": options.seed,
    }
    arguments = [text for name, value in given.items() for text in (name, str(value))]
    arguments += ["--pauses"] * options.pauses
    subprocess.run([sys.executable, "-m", "tests.quirks", "soak", "--json", str(_OUT), *arguments], check=True)
    reported: dict[str, Any] = json.loads(_OUT.read_text())
    for name, value in reported["figures"].items():
        print(f"{name:38}{value:>14,}" if isinstance(value, int | float) else f"{name:38}{value!s:>14}")
    print()
    for rule, holds in reported["rules"].items():
        print(f"{'yes' if holds else 'NO':6}{rule}")
    for name, (count, example) in reported["wrong"].items():
        print(f"{count:6} {name}: {example}")
    for text in reported["failures"]:
        print(f"clean client: {text}")
    if reported["pauses"] is not None:
        _show(reported["pauses"])
    return reported


def _show(pauses: dict[str, Any]) -> None:
    """Print what has held up the loop: how often, the total and the longest time, and where."""
    longest = [round(took * 1000, 1) for took in pauses["longest"][:10]]
    print(f"\n{pauses['turns']} turns over 5 ms of CPU, the longest: {longest}")
    for place, (times, total, longest) in list(pauses["places"].items())[:40]:
        print(f"{times:6}{total * 1000:9.1f}{longest * 1000:8.1f} ms  {place}")
    for generation, (times, total, longest) in pauses["collections"].items():
        print(f"{times:6}{total * 1000:9.1f}{longest * 1000:8.1f} ms  collector, generation {generation}")
