"""Connections that speak another protocol than the port: most often a proxy that is configured for another server.

Their first bytes show which protocol it is. The log names it once an hour, with what to change; the peer gets a
refusal in HTTP, which says the same.
"""

import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Final

from service.core.occurrences import Occurrences
from service.edge.http.problems import refusal_of_connection

__all__ = ["FIRST_BYTES", "NOT_HTTP", "NOT_TLS", "OtherProtocols"]

_log = logging.getLogger("sluice.http")

FIRST_BYTES: Final = 16
"""How many bytes show the protocol."""
_EVERY: Final = 3600.0

_PROXY: Final = (
    "the PROXY protocol",
    "switch it off in the proxy (HAProxy: send-proxy; nginx: proxy_protocol), and have it send X-Forwarded-For",
)
_HTTP_2: Final = (
    "HTTP/2",
    "let the proxy speak HTTP/1.1 to this port; in HAProxy take proto h2 out of the server's line",
)
_TLS: Final = ("TLS", "use http:// here, or give the service --tls-cert and --tls-key")
_HTTP: Final = ("HTTP without TLS", "use https:// here; in a proxy, too, which then needs to trust the certificate")

_PROTOCOLS: Final = {
    b"PROXY ": _PROXY,
    b"\r\n\r\n\0\r\nQUIT\n": _PROXY,
    b"PRI * HTTP/2": _HTTP_2,
    b"\x16\x03": _TLS,
    **dict.fromkeys((b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"CONNECT "), _HTTP),
}
NOT_HTTP: Final = tuple(preface for preface, found in _PROTOCOLS.items() if found is not _HTTP)
NOT_TLS: Final = tuple(preface for preface, found in _PROTOCOLS.items() if found is not _TLS)
"""What other protocols begin with, at the port for HTTP, and at the one for TLS."""


class OtherProtocols:
    """Recognises protocols that the port does not speak, and logs them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._seen: defaultdict[str, Occurrences] = defaultdict(lambda: Occurrences(clock, _EVERY))

    def __repr__(self) -> str:
        return f"<OtherProtocols {sorted(self._seen)}>"

    def refusal(self, data: bytes, peer: object) -> bytes:
        """Return the answer to a connection that begins with one of ``NOT_HTTP`` or ``NOT_TLS``."""
        what, advice = next(found for preface, found in _PROTOCOLS.items() if data.startswith(preface))
        if count := self._seen[what].happened():
            address = str(peer[0]) if isinstance(peer, tuple) else None
            fields = {"what": what, "address": address, "advice": advice, "count": count}
            _log.warning("a connection speaks another protocol", extra=fields)
        return refusal_of_connection(f"this port does not speak {what}: {advice}")
