"""What ``sluice check`` prints: the same as text and as one JSON object."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from service.commands.units import size_text
from service.runtime.timestamps import timestamp
from service.storage.tables import Table
from service.storage.verification import DamagedRow, Verified

__all__ = ["as_json", "as_text", "faults_of"]


def as_json(path: Path, found: Verified) -> str:
    """Return one JSON object, on one line."""
    document: dict[str, Any] = {
        "path": str(path),
        "ok": found.sound,
        "format": found.format,
        "size": found.size,
        "wal": found.wal,
        "commits": found.commits,
        "lost_commits": found.lost_commits,
        **{name: found.rows.get(name, 0) for name in _kept()},
        "bytes": {name: found.bytes.get(name, 0) for name in _kept()},
        "oldest": _time(found.oldest),
        "newest": _time(found.newest),
        "missing": found.missing,
        "damaged": found.damaged,
        "damaged_rows": [asdict(row) for row in found.listed],
        "faults": found.unsound,
    }
    return json.dumps(document)


def as_text(path: Path, found: Verified) -> Iterator[str]:
    """Yield lines for people."""
    wal = f" and {size_text(found.wal)} in its WAL" if found.wal else ""
    yield f"{path}: format {found.format}, {size_text(found.size)}{wal}, {found.commits:,} commits"
    for name in _kept():
        yield f"{name:<9} {found.rows.get(name, 0):>13,}   {size_text(found.bytes.get(name, 0))}"
    if found.oldest is not None:
        yield f"published  {_time(found.oldest)} to {_time(found.newest)}"
    for row in found.listed:
        yield f"damaged:   {_where(row)}"
    if found.damaged > len(found.listed):
        yield f"damaged:   {found.damaged - len(found.listed):,} more"
    yield from (f"fault:     {text}" for text in found.unsound)
    yield f"FAILED: {faults_of(found)}" if not found.sound else "ok: every record is what was written"


def faults_of(found: Verified) -> str:
    """Say in one line what is wrong; nothing where all is well."""
    counts = (
        (found.damaged, f"{found.damaged:,} damaged records"),
        (found.missing, f"{found.missing:,} messages are missing between others of their topic"),
        (found.lost_commits, f"the last {found.lost_commits:,} commits are missing"),
        (found.unsound, f"the file is damaged: {'; '.join(found.unsound)}"),
    )
    return ", ".join(text for count, text in counts if count)


def _kept() -> list[str]:
    return [table.value for table in Table if table is not Table.STATE]


def _where(row: DamagedRow) -> str:
    topic = f", topic {row.topic}" if row.topic is not None else ""
    offset = f", offset {row.offset}" if row.offset is not None else ""
    return f"{row.table} {row.id}{topic}{offset}"


def _time(at: float | None) -> str | None:
    if at is None:
        return None
    try:
        return timestamp(at)
    except (ValueError, OverflowError, OSError):  # a wall clock that was far off
        return str(at)
