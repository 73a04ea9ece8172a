"""Servers that stream over HTTP: server-sent events and JSON lines, of any make."""

from loadtest.http_streams import EventStream, LineStream
from loadtest.sockets import Socket
from loadtest.targets.posting import Posting

__all__ = ["Lines", "Sse"]


class Sse(Posting):
    """Each client has a GET with ``Accept: text/event-stream`` under way."""

    HELP = "server-sent events at --path, published by POST to --publish-path"
    PATH = "/events?topic={topic}"
    SOCKET = EventStream

    def received(self, socket: Socket, payload: bytes) -> tuple[int, int] | bool | None:
        """Pass over comments, and events without data."""
        return b"data:" not in payload


class Lines(Posting):
    """Each client has a GET under way, whose answer is a JSON document a line."""

    HELP = "JSON lines at --path, published by POST to --publish-path"
    PATH = "/events?topic={topic}"
    SOCKET = LineStream
