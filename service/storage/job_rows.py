"""Rows of jobs: the state of each, which is small and put anew with each change, and its request, put once.

The id of an event's row is the number of the job and the offset, so that the events of a job lie together and
nobody has to remember where.
"""

from typing import Final

import msgspec

from service.core.jobs.job import Job
from service.core.jobs.summary import JobSummary
from service.storage.records import Damaged, unseal, write_json

__all__ = [
    "JobRequestRow",
    "event_ids",
    "event_row",
    "read_request",
    "read_state",
    "read_summary",
    "write_request",
    "write_state",
]

_OFFSET: Final = 20
"""Bits of an offset, below the number of the job."""
_NOTHING: Final = msgspec.Raw(b"null")
_decode_summary: Final = msgspec.json.Decoder(JobSummary).decode


class JobRequestRow(msgspec.Struct, frozen=True):
    """What was asked for, as JSON, and what its client may ask."""

    work: msgspec.Raw
    grant: msgspec.Raw


def event_row(row: int, offset: int) -> int:
    """Return the id of an event of a job."""
    return row << _OFFSET | offset


def event_ids(row: int) -> tuple[int, int]:
    """Return the first and the last id that an event of a job may have."""
    return event_row(row, 1), event_row(row + 1, 0) - 1


def write_state(job: Job) -> bytes:
    """Return the record of all of a job that may change."""
    return write_json(job.row, msgspec.json.encode(msgspec.structs.replace(job, work=_NOTHING, grant=_NOTHING)))


def write_request(job: Job) -> bytes:
    """Return the record of what never changes."""
    return write_json(job.row, msgspec.json.encode(JobRequestRow(job.work, job.grant)))


def read_state(row: int, record: bytes) -> Job:
    """Return the job of a record, without its work and its grant, or raise Damaged."""
    try:
        return msgspec.json.decode(unseal(row, record), type=Job)
    except msgspec.MsgspecError as error:
        raise Damaged(f"row {row}: {error}") from error


def read_summary(row: int, record: bytes) -> JobSummary:
    """Return the part of a record that a start needs, in half the time that the whole takes; or raise Damaged."""
    try:
        return _decode_summary(unseal(row, record))
    except msgspec.MsgspecError as error:
        raise Damaged(f"row {row}: {error}") from error


def read_request(row: int, record: bytes) -> JobRequestRow:
    """Return the request of a record, or raise Damaged."""
    try:
        return msgspec.json.decode(unseal(row, record), type=JobRequestRow)
    except msgspec.MsgspecError as error:
        raise Damaged(f"row {row}: {error}") from error
