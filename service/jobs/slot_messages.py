"""What the service and a slot's process say to each other: frames of JSON over a socket, each after its length."""

import struct
from typing import Any, Final

import msgspec

__all__ = [
    "END",
    "HEAD",
    "LONGEST",
    "Ask",
    "Described",
    "Ended",
    "ProgressReported",
    "ProgressStored",
    "Stop",
    "decode",
    "encode",
    "length_of",
]

_LENGTH: Final = struct.Struct(">I")
HEAD: Final = _LENGTH.size
END: Final = b"\x00\x17\x00"
"""What a slot prints when a function has ended."""
LONGEST: Final = 2 << 20
"""Bytes of a frame: arguments and results of jobs have at most half of that."""


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """Run a function; ``args`` are keywords where they are an object."""

    name: str
    args: list[Any] | dict[str, Any]
    job: str
    attempt: int
    key: str


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """The job was cancelled, or its time is over."""


class ProgressStored(msgspec.Struct, frozen=True, tag="stored"):
    """Progress was stored."""


class Described(msgspec.Struct, frozen=True, tag="described"):
    """The process is ready: which functions there are, with retries and timeout; or why there are none."""

    functions: dict[str, tuple[int | None, float | None]] = {}
    wrong: str | None = None


class ProgressReported(msgspec.Struct, frozen=True, tag="reported"):
    """Progress of the function that runs."""

    progress: dict[str, Any]


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The function has ended: with a result, or an error."""

    result: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None
    again: bool = True
    spoilt: bool = False
    """Whether the function has left the process in a state in which the next one may fail."""


_Any = Ask | Stop | ProgressStored | Described | ProgressReported | Ended
_DECODER: Final = msgspec.json.Decoder(_Any)


def encode(message: _Any) -> bytes:
    """Return a frame; raises TypeError and ValueError for what JSON has no form for."""
    text = msgspec.json.encode(message)
    return _LENGTH.pack(len(text)) + text


def length_of(head: bytes) -> int:
    """Return how many bytes follow; raises ValueError for more than a frame has."""
    (length,) = _LENGTH.unpack(head)
    if length > LONGEST:
        raise ValueError(f"a frame of {length} bytes")
    return int(length)


def decode(text: bytes) -> _Any:
    """Return the message of a frame."""
    message: _Any = _DECODER.decode(text)
    return message
