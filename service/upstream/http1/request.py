"""The bytes of a request: the last look at them before the socket."""

import re
from collections.abc import Mapping
from typing import Final

from service import __version__
from service.core.fetching.target import Target
from service.upstream.http1.codings import ACCEPTED
from service.upstream.http1.errors import ProtocolError, UnwritableRequest

__all__ = ["Requests"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")
_USUAL: Final = frozenset({"GET", "HEAD"})
_FRAMING: Final = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_ORIGINS: Final = 1024


class Requests:
    """Writes requests; what every request to a host begins with is written once."""

    def __init__(self) -> None:
        self._plain: dict[str, bytes] = {}
        """By origin: the lines of a request without headers of its own."""

    def write(self, method: str, target: Target, headers: Mapping[str, str], body: bytes | None) -> bytes:
        """Return a request; ``headers`` win over what is sent by default.

        Raises UnwritableRequest; and ProtocolError for a header that no client can have given, because theirs are
        checked before: it came from an upstream, whose ETag goes back to it as a condition.
        """
        line = target.request_target
        if not ((method in _USUAL or _TOKEN.fullmatch(method)) and _is_plain(line)):
            raise UnwritableRequest("the method or the URL has a character that no request line has")
        if headers or body is not None:
            lines = _lines(target, headers, body)
        else:
            lines = self._plain.get(target.origin) or self._remember(target)
        begin = f"{method} {line} HTTP/1.1\r\n".encode("ascii")
        return begin + lines if body is None else begin + lines + body

    def _remember(self, target: Target) -> bytes:
        if len(self._plain) >= _ORIGINS:
            self._plain.clear()
        lines = self._plain[target.origin] = _lines(target, {}, None)
        return lines


def _is_plain(text: str) -> bool:
    """Return whether a text is of visible ASCII."""
    return text.isascii() and text.isprintable() and " " not in text and text != ""


def _host_of(target: Target) -> str:
    host = f"[{target.host}]" if ":" in target.host else target.host
    return host if target.port == (443 if target.scheme == "https" else 80) else f"{host}:{target.port}"


def _lines(target: Target, headers: Mapping[str, str], body: bytes | None) -> bytes:
    host = _host_of(target)
    if not _is_plain(host):
        raise UnwritableRequest("the host has a character that no Host header has")
    fields = {"host": f"Host: {host}\r\n", "accept": "Accept: */*\r\n",
              "accept-encoding": f"Accept-Encoding: {ACCEPTED}\r\n",
              "user-agent": f"User-Agent: sluice/{__version__}\r\n"}  # fmt: skip
    for name, value in headers.items():
        lower = name.lower()
        if not _TOKEN.fullmatch(name) or lower in _FRAMING:
            raise UnwritableRequest(f"{name[:40]!a} is not a header that a request can be given")
        if not _VALUE.fullmatch(value):
            raise _wrong(name, value)
        fields[lower] = f"{name}: {value}\r\n"
    if "range" in fields:  # a part of something coded could not be decoded; browsers ask so, too
        fields["accept-encoding"] = "Accept-Encoding: identity\r\n"
    if body is not None:
        fields["content-length"] = f"Content-Length: {len(body)}\r\n"
        fields.setdefault("content-type", "Content-Type: application/octet-stream\r\n")
    return ("".join(fields.values()) + "\r\n").encode("latin-1")


def _wrong(name: str, value: str) -> Exception:
    if any(sign > "\xff" for sign in value):
        return UnwritableRequest(f"{name} has a character beyond U+00FF, which no header can carry")
    return ProtocolError(f"{name} has a value that no header has")
