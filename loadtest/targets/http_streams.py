"""Servers that stream over HTTP: server-sent events and JSON lines, of any make."""

import re

from loadtest.http_streams import EventStream, LineStream
from loadtest.sockets import Socket
from loadtest.targets.base import MissedRange, Position
from loadtest.targets.posting import Posting

__all__ = ["Lines", "Sse"]


class Sse(Posting):
    """Each client has a GET with ``Accept: text/event-stream`` under way."""

    HELP = "server-sent events at --path, published by POST to --publish-path"
    PATH = "/events?topic={topic}"
    SOCKET = EventStream
    POSITION = re.compile(rb"(?:^|[\r\n])id: ?([^\r\n]*)")
    CAN = Posting.CAN | {"resume"}

    def headers(self, since: Position) -> tuple[tuple[str, str], ...]:
        """Come back with the id of the last event, as browsers do."""
        return (("Last-Event-ID", since.mark),)

    def received(self, socket: Socket, payload: bytes) -> MissedRange | bool | None:
        """Pass over comments, and events without data."""
        return b"data:" not in payload


class Lines(Posting):
    """Each client has a GET under way, whose answer is a JSON document a line."""

    HELP = "JSON lines at --path, published by POST to --publish-path"
    PATH = "/events?topic={topic}"
    SOCKET = LineStream
