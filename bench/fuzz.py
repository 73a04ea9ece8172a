"""Fuzz: the readers of hostile input under atheris, each for some minutes."""

import re
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

__all__ = ["add_options", "run"]

_TARGETS = sorted(path.stem for path in Path("tests/fuzz/corpus").glob("*.txt"))
_KEPT = Path(".bench") / "fuzz"


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--minutes", type=float, default=10, help="for each target (default 10)")
    parser.add_argument("--seed", type=int, default=1)


def run(options: Namespace) -> dict[str, Any]:
    """Fuzz one target after the other; what reaches new branches is kept in .bench/fuzz for the next run."""
    print(f"\n{'target':12}{'inputs':>14}{'branches':>10}{'kept':>8}  found")
    return {"minutes": options.minutes, "table": [_one(target, options) for target in _TARGETS]}


def _one(target: str, options: Namespace) -> dict[str, Any]:
    folder = (_KEPT / target).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    seconds = max(1, round(options.minutes * 60))
    given = ("--seconds", str(seconds), "--seed", str(options.seed), "--keep", str(folder))
    reported = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, *given],
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    inputs = re.search(r"Done (\d+) runs", reported.stderr)
    branches = re.findall(r"cov: (\d+)", reported.stderr)
    row = {
        "target": target,
        "inputs": int(inputs[1]) if inputs else 0,
        "branches": int(branches[-1]) if branches else 0,
        "kept": len(list((folder / "found").iterdir())),
        "passed": reported.returncode == 0,
    }
    print(
        f"{target:12}{row['inputs']:14,}{row['branches']:10}{row['kept']:8}  {'nothing' if row['passed'] else '!'}"
    )
    if not row["passed"]:
        lines = [line for line in reported.stderr.splitlines() if not line.startswith("#")]
        print(reported.stdout[-3000:], "\n".join(lines)[-5000:], sep="\n")
    return row
