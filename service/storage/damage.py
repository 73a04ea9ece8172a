"""Damaged records that are passed over: counted, and the first of them logged."""

import logging
from typing import Final

from service.storage.tables import Table

__all__ = ["DamageLog"]

_log = logging.getLogger("sluice.storage")

_REPORTED: Final = 10


class DamageLog:
    """What one reader has found."""

    def __init__(self) -> None:
        self.count = 0
        """Records that are not what was written."""

    def report(self, table: Table, why: object) -> None:
        """Count a record, and log it if it is one of the first."""
        self.count += 1
        if self.count <= _REPORTED:
            _log.error("a damaged record is passed over", extra={"table": table.value, "why": str(why)})
