"""Thresholds in k6's manner: ``delivery_p99_ms<250``, ``lost==0``."""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Threshold", "parse_threshold"]

_FORM = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(<=|>=|==|!=|<|>)\s*(-?[0-9]+(?:\.[0-9]+)?)\s*", re.ASCII)
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Threshold:
    """One condition on one figure."""

    text: str
    figure: str
    sign: str
    bound: float

    def judge(self, figures: Mapping[str, float]) -> tuple[bool, float | None]:
        """Return whether it holds, and the figure; one that was not measured does not hold."""
        value = figures.get(self.figure)
        return (False, None) if value is None else (_OPERATORS[self.sign](value, self.bound), value)


def parse_threshold(text: str) -> Threshold:
    """Return the threshold, or raise ValueError that shows the form."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"--threshold: {text!r} is not like delivery_p99_ms<250 or lost==0")
    return Threshold(text, found[1], found[2], float(found[3]))
