"""The table of docs/reliability.md: a row a trial, each with the day of its run, rewritten row by row."""

import os
import platform
import re
from pathlib import Path
from typing import Final

from bench.reliability.trial import Outcome, Trial

__all__ = ["HEADS", "machine", "row", "rows_of", "written"]

_BEGIN: Final = "<!-- figures: ./x bench reliability --write docs/reliability.md -->"
_END: Final = "<!-- end of the figures -->"
HEADS: Final = (
    "test", "load held", "rules", "found", "control p99, ms: before, during, after",
    "more memory, MiB: process, kernel", "loop lag, ms", "lost", "recovered, s", "plain aiohttp", "run",
)  # fmt: skip


def machine() -> str:
    """Say in a few words what was measured on."""
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} x {cpu}, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"


def row(trial: Trial, outcome: Outcome, run: str) -> list[str]:
    """Return the cells of a trial."""
    control = "" if outcome.control is None else ", ".join(f"{window.p99:.3g}" for window in outcome.control)
    held = sum(outcome.checks.values())
    broken = "".join(f"; **not: {name}**" for name, holds in outcome.checks.items() if not holds)
    cells = [
        f"{trial.number} {trial.name}",
        outcome.load,
        f"{held} of {len(outcome.checks)}{broken}",
        "; ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in outcome.figures.items()),
        control,
        "" if outcome.control is None else f"{outcome.more_resident_mib:.0f}, {outcome.more_kernel_mib:.0f}",
        "" if outcome.control is None else f"{outcome.lag_ms:.0f}",
        str(outcome.lost),
        "no" if outcome.recovered is None else f"{outcome.recovered:.0f}",
        outcome.stock,
        run,
    ]
    return [cell.replace("|", "/") for cell in cells]


def _shown(value: object) -> str:
    return format(value, ",.3g") if isinstance(value, float) else str(value)


def rows_of(document: str) -> dict[str, list[str]]:
    """Return the rows that a document has, by their test."""
    table = document.partition(_BEGIN)[2].partition(_END)[0]
    lines = [line for line in table.splitlines() if re.match(r"\| \d", line)]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {one[0]: one for one in cells}


def written(document: str, rows: list[list[str]], where: str) -> str:
    """Return the document with these rows put in, or put in the place of older ones of the same tests.

    ``where`` says on which machine.
    Raises ValueError where the document has no place for them.
    """
    before, begin, rest = document.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"the document has no lines {_BEGIN} and {_END}")
    kept = rows_of(document) | {one[0]: one for one in rows}
    ordered = sorted(kept.values(), key=lambda one: int(one[0].split()[0]))
    lines = ["| " + " | ".join(HEADS) + " |", "|" + "---|" * len(HEADS)]
    lines += ["| " + " | ".join(one) + " |" for one in ordered]
    return f"{before}{begin}\n\nThe last run: {where}.\n\n" + "\n".join(lines) + f"\n\n{end}{after}"
