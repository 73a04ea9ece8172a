"""Options that have one value."""

from argparse import ArgumentError, ArgumentParser, Namespace, _StoreAction
from typing import Any

__all__ = ["Once"]


class Once(_StoreAction):
    """An option that has one value: a second one would be passed over in silence."""

    _given = False

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        """Take the value; raises ArgumentError for a second one."""
        if self._given and self.option_strings:
            raise ArgumentError(self, "is given twice, and has one value")
        self._given = True
        super().__call__(parser, namespace, values, option_string)
