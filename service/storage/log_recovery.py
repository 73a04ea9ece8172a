"""Reading the batches of the database at the start, without the bodies of their events.

The outcome of each event says which URL it ends. Where an outcome is damaged its event is read for that; where both
are, readers get a gap, and the URL is fetched again. A batch that has lost its newest events has to begin a new
epoch, or a position that a client holds would get another content. A batch whose own row is damaged is gone.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
import orjson

from service.core.batch_store import KeptBatch
from service.core.fetching.batch import Keep
from service.core.fetching.request import FetchRequest, Options
from service.core.ports import UrlOutcome
from service.storage.log_rows import BatchRequestRow, BatchRow, LogRows, hosts_of, key_of, owner_of, tracing_of
from service.storage.log_store import LogIds
from service.storage.records import (
    Damaged,
    OutcomeRecord,
    read_message,
    read_outcome,
    read_row,
    write_document,
    write_outcome,
)
from service.storage.scan import Scan
from service.storage.tables import Table
from service.storage.wall_clock import WallClock

__all__ = ["RecoveredLogs", "recover_logs"]

_DONE: Final = -1
_UNKNOWN: Final = UrlOutcome(-2, 0)


class _Found:
    """One batch, as far as it has been read."""

    def __init__(self, log: LogRows) -> None:
        self.log = log
        self.outcomes: list[UrlOutcome] = []
        self.items: list[Any] = []
        self.ended: float | None = None


class RecoveredLogs:
    """All batches that were read."""

    def __init__(self, scan: Scan, clock: WallClock, new_epoch: Callable[[], str]) -> None:
        self.ids = LogIds()
        self.orphans: dict[int, LogRows] = {}
        """Events whose batch is gone."""
        self._scan = scan
        self._rows = scan.database.rows
        self._clock = clock
        self._new_epoch = new_epoch
        self._found: dict[int, _Found] = {}
        self._lost = 0
        """Damaged events that have not shown as a hole between two others."""

    @property
    def logs(self) -> list[LogRows]:
        """What the store goes on with."""
        return [found.log for found in self._found.values()]

    def batch(self, row: int, record: bytes) -> None:
        """Take in the row of a batch."""
        document = msgspec.to_builtins(read_row(row, record, BatchRow))
        log = LogRows(row, f"batch:{document['id']}", document["epoch"], document)
        self._found[row] = _Found(log)

    def outcome(self, row: int, record: bytes) -> None:
        """Take in what an event ends, the next one of its batch."""
        self._add(row, read_outcome(row, record))

    def recover_outcome(self, row: int) -> bool:
        """Rebuild a damaged outcome from its event; return False if the event does not say the outcome."""
        try:
            message = read_message(row, self._rows.get(Table.EVENTS, row) or b"")
            said = orjson.loads(message.data)
            others = _DONE if said.get("event") == "done" else _UNKNOWN.item
            index, status = said.get("index", others), said.get("status", 0)
            outcome = OutcomeRecord(message.topic, message.offset, message.at, index, status, len(message.data))
            self._add(row, outcome)
        except (Damaged, ValueError):
            self._lost += 1
            self._scan.discard(Table.EVENTS, row)
            return False
        self._scan.changes.replace(Table.OUTCOMES, row, write_outcome(row, outcome))
        return True

    def _add(self, row: int, outcome: OutcomeRecord) -> None:
        found = self._found.get(outcome.batch)
        if found is None:
            orphan = self.orphans.setdefault(outcome.batch, LogRows(outcome.batch, "", ""))
            orphan.rows.append(row)
            orphan.sizes.append(outcome.size)
            return
        log = found.log
        missing = outcome.offset - log.head - 1
        if missing < 0:
            self._fill(found, row, outcome)
            return
        self._lost -= missing
        log.rows.extend([-1] * missing + [row])
        log.sizes.extend([0] * missing + [outcome.size])
        log.head = outcome.offset
        found.outcomes += [_UNKNOWN] * missing + [UrlOutcome(outcome.item, outcome.status)]
        if outcome.item == _DONE:
            found.ended = outcome.at

    def _fill(self, found: _Found, row: int, outcome: OutcomeRecord) -> None:
        """Put an outcome where one was missing: its row was found later, under another id."""
        log, place = found.log, outcome.offset - 1
        if place < 0 or log.rows[place] != -1:
            raise Damaged(f"row {row} has an offset that another has")
        self._lost += 1
        log.rows[place], log.sizes[place] = row, outcome.size
        found.outcomes[place] = UrlOutcome(outcome.item, outcome.status)

    def request(self, row: int, record: bytes) -> None:
        """Take in some of what a batch asked for."""
        read = read_row(row, record, BatchRequestRow)
        found = self._found.get(read.batch)
        if found is None or found.ended is not None:
            self._scan.discard(Table.REQUESTS, row)
            return
        found.log.requests.append(row)
        if not found.items:
            found.items = [None] * found.log.document["total"]
        for index, item in enumerate(read.items, read.first):
            if index < len(found.items):
                found.items[index] = item

    def renew(self) -> None:
        """Begin new epochs where offsets may have been given away that nobody knows of."""
        if self._scan.database.lost_commits or self._lost > 0:
            for found in self._found.values():
                log = found.log
                log.epoch = self._new_epoch()
                log.document["epoch"] = log.epoch
                self._scan.changes.replace(Table.BATCHES, log.id, write_document(log.id, log.document))

    def batches(self) -> list[KeptBatch]:
        """Return what the service goes on with."""
        return [self._kept(found) for found in self._found.values()]

    def _kept(self, found: _Found) -> KeptBatch:
        log, document, clock = found.log, found.log.document, self._clock
        total = document["total"]
        items: list[Any] = found.items or [None] * total
        damaged = [index for index, item in enumerate(items) if item is None]
        missing = "" if isinstance(next(filter(None, items), ""), str) else FetchRequest("")
        items = [missing if item is None else item for item in items]
        return KeptBatch(
            id=document["id"],
            owner=owner_of(document["owner"]),
            keep=Keep[document["keep"]],
            cancelled=document["cancelled"],
            items=items,
            options=msgspec.convert(document["options"], Options),
            started=clock.to_hub(document["started"]),
            key=key_of(document["key"]),
            hosts=hosts_of(document["hosts"]),
            share=document["share"],
            correlation=tracing_of(document),
            outcomes=found.outcomes,
            sizes=log.sizes,
            damaged=() if found.ended is not None else damaged,
            ended=None if found.ended is None else clock.to_hub(found.ended),
            elapsed_ms=self._elapsed(found),
        )

    def _elapsed(self, found: _Found) -> float:
        """Return how long a batch that is done took, as its last event says."""
        if found.ended is None:
            return 0.0
        row = found.log.rows[-1]
        try:
            event = read_message(row, self._rows.get(Table.EVENTS, row) or b"")
            return float(orjson.loads(event.data)["elapsed_ms"])
        except (Damaged, ValueError, KeyError):
            return round(1000 * (found.ended - float(found.log.document["started"])), 1)


async def recover_logs(
    scan: Scan, clock: WallClock, new_epoch: Callable[[], str]
) -> tuple[RecoveredLogs, list[KeptBatch]]:
    """Read everything in slices; the loop turns between them."""
    found = RecoveredLogs(scan, clock, new_epoch)
    await scan.read(Table.BATCHES, found.batch)
    await scan.read(Table.OUTCOMES, found.outcome, found.recover_outcome)
    await scan.read(Table.REQUESTS, found.request)
    rows = scan.database.rows
    found.ids = LogIds(rows.last(Table.BATCHES), rows.last(Table.REQUESTS), rows.last(Table.EVENTS))
    found.renew()
    return found, await asyncio.to_thread(found.batches)
