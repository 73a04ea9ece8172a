"""The tables of docs/reliability.md and docs/tenants.md: each row with the day of its run, rewritten row by row."""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.reliability.trial import Outcome, Trial

__all__ = ["RELIABILITY", "Table", "machine", "row"]

_END: Final = "<!-- end of the figures -->"


@dataclass(frozen=True, slots=True)
class Table:
    """The table that a command writes into a document."""

    command: str
    heads: tuple[str, ...]
    place: Callable[[str], int]
    """Where the row of a name belongs."""

    @property
    def _begin(self) -> str:
        return f"<!-- figures: {self.command} -->"

    def rows_of(self, document: str) -> dict[str, list[str]]:
        """Return the rows that a document has, by their test."""
        table = document.partition(self._begin)[2].partition(_END)[0]
        lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        return {one[0]: one for one in cells}

    def written(self, document: str, rows: list[list[str]], where: str) -> str:
        """Return the document with these rows put in, or put in the place of older ones of the same tests.

        ``where`` says on which machine. Raises ValueError where the document has no place for them.
        """
        before, begin, rest = document.partition(self._begin)
        _, end, after = rest.partition(_END)
        if not (begin and end):
            raise ValueError(f"the document has no lines {self._begin} and {_END}")
        kept = self.rows_of(document) | {one[0]: [cell.replace("|", "/") for cell in one] for one in rows}
        ordered = sorted(kept.values(), key=lambda one: self.place(one[0]))
        lines = ["| " + " | ".join(self.heads) + " |", "|" + "---|" * len(self.heads)]
        lines += ["| " + " | ".join(one) + " |" for one in ordered]
        return f"{before}{begin}\n\nThe last run: {where}.\n\n" + "\n".join(lines) + f"\n\n{end}{after}"

    def write(self, document: Path, rows: list[list[str]], where: str) -> None:
        """Do as :meth:`written`, in the file of a document."""
        document.write_text(self.written(document.read_text(), rows, where))


RELIABILITY: Final = Table(
    "./x bench reliability --write docs/reliability.md",
    (
        "test", "load held", "rules", "found", "control p99, ms: before, during, after",
        "more memory, MiB: process, kernel", "loop lag, ms", "lost", "recovered, s", "plain aiohttp", "run",
    ),
    lambda name: int(name.split()[0]),
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
    return [
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


def _shown(value: object) -> str:
    return format(value, ",.3g") if isinstance(value, float) else str(value)
