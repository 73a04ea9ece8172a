"""What ties a request to what others know of it: its id, and its place in a distributed trace.

W3C Trace Context: https://www.w3.org/TR/trace-context/ (level 1, and the random flag of level 2).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Correlation", "Trace", "parse_request_id", "parse_trace"]

_REQUEST_ID: Final = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_KEY: Final = r"[a-z0-9][a-z0-9_*/@-]{0,255}"
_MEMBER: Final = re.compile(rf"{_KEY}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]")
_MEMBERS: Final = 32
_STATE: Final = 512
"""Characters; the least that has to be passed on (section 3.3.1.5)."""
_KNOWN_FLAGS: Final = 0x03
"""Sampled and random; what is not known is sent as 0 (section 3.2.2.5)."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The place of a request in a trace."""

    id: str
    parent: str
    """The span that asked."""
    flags: int
    state: str = ""

    def child(self, span: str) -> dict[str, str]:
        """Return the headers of a request that is made for this one; ``span`` is its own id, 16 hex digits."""
        headers = {"traceparent": f"00-{self.id}-{span}-{self.flags:02x}"}
        return {**headers, "tracestate": self.state} if self.state else headers


@dataclass(frozen=True, slots=True)
class Correlation:
    """What every line of the log says of one request."""

    request_id: str
    trace: Trace | None = None

    def log_fields(self) -> dict[str, str]:
        """Return it by the names that it has in the log."""
        fields = {"request_id": self.request_id}
        return {**fields, "trace_id": self.trace.id} if self.trace is not None else fields


def parse_request_id(text: str | None) -> str | None:
    """Return the id that a client gave its request, or None for one that no log should have."""
    return text if text is not None and _REQUEST_ID.fullmatch(text) else None


def parse_trace(parents: Sequence[str], states: Sequence[str] = ()) -> Trace | None:
    """Read the values of ``traceparent`` and ``tracestate``; what is malformed counts as not sent."""
    found = _PARENT.fullmatch(parents[0].strip(" \t")) if len(parents) == 1 else None
    if found is None:
        return None
    version, trace, parent, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace.strip("0") or not parent.strip("0"):
        return None
    return Trace(trace, parent, int(flags, 16) & _KNOWN_FLAGS, _state(states))


def _state(values: Sequence[str]) -> str:
    """Return the members of all headers as one, or nothing where one of them is wrong."""
    members = [member.strip(" \t") for value in values for member in value.split(",")]
    members = [member for member in members if member]
    keys = [member.partition("=")[0] for member in members]
    if len(members) > _MEMBERS or len({*keys}) < len(keys) or not all(map(_MEMBER.fullmatch, members)):
        return ""
    while len(",".join(members)) > _STATE:
        # From the end: the newest is in front (section 3.3.1.5).
        members.pop()
    return ",".join(members)
