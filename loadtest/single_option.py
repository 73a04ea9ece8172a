"""Options that may be given only once."""

from argparse import ArgumentError, ArgumentParser, Namespace, _StoreAction
from typing import Any

__all__ = ["SingleOption"]


class SingleOption(_StoreAction):
    """An option of which a second value would be passed over in silence, and with it a server that was meant."""

    _given = False

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        """Take the value; raises ArgumentError for a second one."""
        if self._given and self.option_strings:
            raise ArgumentError(self, "is given twice; a run has one server")
        self._given = True
        super().__call__(parser, namespace, values, option_string)
