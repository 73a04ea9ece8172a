"""Which part of a line is its key: what was asked for, in a form that goes to other processes."""

from dataclasses import dataclass

from service.work.counting import Keys, by_field, by_regex
from service.work.patterns import compile_pattern

__all__ = ["LineKeys"]


@dataclass(frozen=True, slots=True)
class LineKeys:
    """A field by its number, or the one group of a regular expression."""

    field: int | None = None
    """From 1."""
    regex: str | None = None
    separator: bytes | None = None
    """Between two fields; None is any run of whitespace."""

    def finder(self) -> Keys:
        """Return what finds the keys; raises ValueError for a pattern that does not compile."""
        if self.regex is not None:
            return by_regex(compile_pattern(self.regex))
        return by_field(self.field or 1, self.separator)
