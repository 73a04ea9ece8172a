"""Records: rows that carry their own checksum, because SQLite does not check what it reads.

A flipped bit in a database file is delivered as it is, and ``PRAGMA integrity_check`` calls the file sound. So each
row is an id and one record, whose first four bytes are the CRC-32 of the id and of all that follows.
"""

import json
from struct import Struct
from typing import Annotated, Any, Final, NamedTuple, TypeVar
from zlib import crc32

import msgspec

__all__ = [
    "HEAD_SIZE",
    "LATEST",
    "Damaged",
    "Mended",
    "MessageRecord",
    "OutcomeRecord",
    "Seconds",
    "StateRow",
    "StoredCount",
    "guess_message",
    "mend",
    "pack_row",
    "read_document",
    "read_head",
    "read_message",
    "read_outcome",
    "read_row",
    "unseal",
    "write_document",
    "write_filler",
    "write_json",
    "write_message",
    "write_outcome",
]

_CHECKSUM = Struct("<I")
_ID = Struct("<q")
_MESSAGE = Struct("<QQd")
_ROW = Struct("<qQQd")
"""A message's id in its table, and what its record begins with after the checksum."""
_HEAD = Struct("<IQQd")
"""What the record of a message begins with."""
HEAD_SIZE: Final = _HEAD.size
pack_row, read_head = _ID.pack, _HEAD.unpack_from
"""For those who read a million messages: the eight bytes of a row's id; checksum, topic, offset and time."""
_OUTCOME = Struct("<QQdqqq")
_HIGHEST: Final = 1 << 53
LATEST: Final = 1e12
_POLYNOMIAL: Final = 0xEDB88320
_ALL: Final = 0xFFFFFFFF
_STRIDE: Final = 2048
"""Bits that are passed over at once where a flipped one is looked for: 3 ms for a record of 1 MiB."""
_ZEROS: Final = bytes(_STRIDE // 8)

StoredCount = Annotated[int, msgspec.Meta(ge=0, le=_HIGHEST)]
Seconds = Annotated[float, msgspec.Meta(ge=-LATEST, le=LATEST)]
"""Since 1970."""

_Row = TypeVar("_Row", bound=msgspec.Struct)


class StateRow(msgspec.Struct, frozen=True):
    """Where the database stands."""

    commits: StoredCount = 0
    next_row: StoredCount = 1


class Damaged(ValueError):
    """A record is not what was written."""


class MessageRecord(NamedTuple):
    """A message of a topic."""

    topic: int
    """The topic's id in the database."""
    offset: int
    at: float
    """When it was appended, in seconds since 1970."""
    data: bytes
    """JSON."""


class Mended(NamedTuple):
    """A record as it was before one bit of it flipped."""

    row: int
    """Its row, whose number may be where the bit was."""
    record: bytes


def mend(row: int, record: bytes) -> Mended | None:
    """Return the record as it was if one bit has flipped; None where more than that is wrong."""
    if len(record) <= _CHECKSUM.size:
        return None
    covered = _ID.pack(row) + record[_CHECKSUM.size :]
    change = _CHECKSUM.unpack_from(record)[0] ^ crc32(covered)
    if change.bit_count() == 1:  # of the checksum itself
        return Mended(row, _seal(row, record[_CHECKSUM.size :]))
    place = _flipped(change, 8 * len(covered))
    if place is None:
        return None
    whole = bytearray(covered)
    whole[place // 8] ^= 1 << place % 8
    (before,) = _ID.unpack_from(whole)
    return Mended(before, _seal(before, bytes(whole[_ID.size :])))


def _flipped(change: int, bits: int) -> int | None:
    """Return the place of the one bit whose flip changes the checksum so, among so many.

    The change depends on the distance of the bit from the end alone, and no two distances have the same: it is that
    of the next bit, one step of the checksum further. So the steps from the end are counted in strides, until one
    ends within a stride behind the change.
    """
    near, value = {}, change
    for back in range(_STRIDE):
        near[value] = back
        value = value >> 1 ^ _POLYNOMIAL * (value & 1)
    value = 1
    for steps in range(_STRIDE, bits + _STRIDE, _STRIDE):
        value = ~crc32(_ZEROS, ~value & _ALL) & _ALL
        if value in near:
            place = bits - steps + near[value]
            return place if place >= 0 else None
    return None


class OutcomeRecord(NamedTuple):
    """What an event of a batch ends."""

    batch: int
    """The batch's id in the database."""
    offset: int
    at: float
    """When it was appended, in seconds since 1970."""
    item: int
    """The index of the URL; -1 for the last event."""
    status: int
    """0 where the URL failed."""
    size: int
    """Bytes of the event."""


def write_message(row: int, topic: int, offset: int, at: float, data: bytes) -> bytes:
    """Return the record of a message."""
    # As _seal does it, in half the time: 20,000 a second come here.
    whole = _ROW.pack(row, topic, offset, at) + data
    return _CHECKSUM.pack(crc32(whole)) + whole[_ID.size :]


def read_message(row: int, record: bytes) -> MessageRecord:
    """Return the message of a record, or raise Damaged."""
    if len(record) < HEAD_SIZE:
        unseal(row, record)
        raise Damaged(f"row {row} is too short for a message")
    # As unseal does it, with fewer calls and copies: a million of them are read at a start.
    checksum, topic, offset, at = read_head(record)
    if checksum != crc32(record[4:], crc32(pack_row(row))):
        raise Damaged(f"row {row} does not have its checksum")
    if offset > _HIGHEST or not -LATEST <= at <= LATEST:
        raise Damaged(f"row {row} has an offset or a time that no message has")
    return tuple.__new__(MessageRecord, (topic, offset, at, record[HEAD_SIZE:]))


def guess_message(record: bytes) -> MessageRecord | None:
    """Return what a damaged record may have been; None where it is too short."""
    if len(record) < _CHECKSUM.size + _MESSAGE.size:
        return None
    topic, offset, at = _MESSAGE.unpack_from(record, _CHECKSUM.size)
    return MessageRecord(topic, offset, at, b"")


def write_outcome(row: int, outcome: OutcomeRecord) -> bytes:
    """Return the record of what an event of a batch ends."""
    return _seal(row, _OUTCOME.pack(*outcome))


def read_outcome(row: int, record: bytes) -> OutcomeRecord:
    """Return the outcome of a record, or raise Damaged."""
    content = unseal(row, record)
    if len(content) != _OUTCOME.size:
        raise Damaged(f"row {row} does not have the size of an outcome")
    return OutcomeRecord(*_OUTCOME.unpack(content))


def write_json(row: int, document: bytes) -> bytes:
    """Return the record of a document that is encoded already."""
    return _seal(row, document)


def write_document(row: int, document: dict[str, Any]) -> bytes:
    """Return the record of anything that is not a message; its texts may be any, half an emoji too."""
    return _seal(row, json.dumps(document).encode())


def read_document(row: int, record: bytes) -> dict[str, Any]:
    """Return the document of a record, or raise Damaged."""
    content = unseal(row, record)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"row {row} is not JSON") from error
    if not isinstance(document, dict):
        raise Damaged(f"row {row} is not an object")
    return document


def read_row(row: int, record: bytes, kind: type[_Row]) -> _Row:
    """Return the document of a record as one of this kind, or raise Damaged."""
    try:
        return msgspec.convert(read_document(row, record), kind)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise Damaged(f"row {row}: {error}") from error


def write_filler(row: int, size: int) -> bytes:
    """Return a record of about ``size`` bytes that says nothing."""
    return _seal(row, b'{"filler":"%b"}' % (b"0" * size))


def _seal(row: int, content: bytes) -> bytes:
    return _CHECKSUM.pack(crc32(content, crc32(_ID.pack(row)))) + content


def unseal(row: int, record: bytes) -> bytes:
    """Return what a record holds behind its checksum, or raise Damaged."""
    content = record[_CHECKSUM.size :]
    if record[: _CHECKSUM.size] != _CHECKSUM.pack(crc32(content, crc32(_ID.pack(row)))):
        raise Damaged(f"row {row} does not have its checksum")
    return content
