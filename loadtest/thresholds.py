"""Thresholds in k6's manner: ``delivery_p99_ms<250``, ``lost==0``, ``errors/published<0.1%``."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["IMPLIED", "Threshold", "parse_threshold"]

_NAME = r"[a-z][a-z0-9_]*(?:\.[0-9]+[a-z0-9_]*)?"
_FORM = re.compile(
    rf"\s*({_NAME})\s*(?:/\s*({_NAME})\s*)?(<=|>=|==|!=|<|>)\s*(-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]{{1,2}})?)\s*(%?)\s*",
    re.ASCII,
)
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Threshold:
    """One condition on a figure, or on the ratio of two."""

    text: str
    figure: str
    sign: str
    bound: float
    over: str = ""
    """The figure by which the first is divided, where there is one."""

    @property
    def names(self) -> tuple[str, ...]:
        """The figures that it is about."""
        return (self.figure, self.over) if self.over else (self.figure,)

    def value(self, figure_of: Callable[[str], float | None]) -> float | None:
        """Return what it judges; None when that was not measured."""
        value = figure_of(self.figure)
        if not self.over or value is None:
            return value
        over = figure_of(self.over)
        return value / over if over else None

    def holds(self, value: float | None) -> bool:
        """Return whether it holds for a value; what was not measured holds nothing."""
        return value is not None and _OPERATORS[self.sign](value, self.bound)

    def broken_for_good(self, value: float | None) -> bool:
        """Return whether a value that can only grow has passed the bound; lower bounds may still be reached."""
        if value is None or self.sign not in ("<", "<=", "=="):
            return False
        return value > self.bound or (self.sign == "<" and value == self.bound)


def parse_threshold(text: str) -> Threshold:
    """Return the threshold, or raise ValueError that shows the form."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(
            f"--threshold: {text!r} is not like delivery_p99_ms<250, lost==0 or errors/published<0.1%; "
            "write == for equal, p95 for p(95), and a plain number"
        )
    bound = float(found[4]) / (100 if found[5] else 1)
    return Threshold(text, found[1], found[3], bound, found[2] or "")


IMPLIED = tuple(map(parse_threshold, (
    "made/intended>=0.99", "unanswered==0", "clients_ready/clients_intended>=0.99", "dropped/connected<=0.01",
    "misrouted==0", "altered==0",
)))  # fmt: skip
"""What every run has to keep, unless a threshold on the same figure says otherwise: that it made its load."""
