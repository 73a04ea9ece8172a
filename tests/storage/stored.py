"""Databases for tests: topics with messages, and what can happen to a file."""

import os
from pathlib import Path

import apsw

from service.storage.database import Database, RowChanges
from service.storage.records import write_document, write_message
from service.storage.tables import Table

__all__ = ["add_messages", "add_topic", "damage", "new_database"]


def new_database(folder: Path) -> Database:
    """Return the database of a data directory, made with the directory."""
    folder.mkdir(exist_ok=True)
    return Database(folder / "sluice.db")


def add_topic(database: Database, number: int, name: str, head: int = 0) -> None:
    """Store a topic."""
    changes = RowChanges(database.next_row)
    document = {"name": name, "owner": "", "epoch": f"epoch-{number}", "head": head, "used": 0.0}
    changes.replace(Table.TOPICS, number, write_document(number, document))
    database.write(changes)


def add_messages(database: Database, topic: int, first: int, count: int, data: bytes = b'"x"') -> None:
    """Store messages of a topic, in one commit."""
    changes = RowChanges(database.next_row)
    for offset in range(first, first + count):
        record = write_message(changes.next_row, topic, offset, 1000.0 + offset, data)
        changes.messages.append(record)
    database.write(changes)


def damage(path: Path, table: Table, row: int, at: int = -1) -> None:
    """Flip one bit of a record; the database must not be open."""
    connection = apsw.Connection(os.fspath(path))
    record = bytearray(connection.execute(f"SELECT record FROM {table} WHERE id = ?", (row,)).get)
    record[at] ^= 1
    connection.execute(f"UPDATE {table} SET record = ? WHERE id = ?", (bytes(record), row))
    connection.close()
