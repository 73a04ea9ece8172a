"""The one table from what libraries raise to the contract's kinds of failure."""

import errno
import ssl
from collections.abc import Iterator
from typing import Final

from service.core.fetching.outcome import NO_MEMORY, Failure, FailureKind
from service.core.memory_budget import OutOfMemory
from service.runtime.threads import ThreadUnavailable
from service.upstream.guard import AddressRefused, LookupFailed, NameNotFound
from service.upstream.http1.errors import ProtocolError, ServerDisconnected, UnwritableRequest

__all__ = ["failure_of"]

_KINDS: Final[tuple[tuple[type[BaseException], FailureKind, str], ...]] = (
    (AddressRefused, "blocked", "the address is not public"),
    (LookupFailed, "dns", ""),
    (NameNotFound, "dns", "the name has no address"),
    (ssl.SSLError, "tls", "no trusted TLS connection"),
    (ssl.CertificateError, "tls", "no trusted TLS connection"),
    (ProtocolError, "protocol", ""),
    (UnwritableRequest, "invalid_request", ""),
    (ServerDisconnected, "connect", ""),
    (ThreadUnavailable, "unavailable", ""),
    (OSError, "connect", "no connection"),
)
"""The first that fits anywhere in the chain of the guard's own, then the first that fits. What comes before an
answer stays coarse: it must not tell who scans which port is open. Without a text here, the exception has one."""

_NO_ROUTE: Final = {
    errno.EAFNOSUPPORT: "no connection: this machine has no IPv6",
    errno.EADDRNOTAVAIL: "no connection: this machine has no IPv6, or no local port is free",
    errno.ENETUNREACH: "no connection: this machine has no route to the address",
}
"""What is wrong on this machine is the same for each port there, so it gives nothing away."""


def failure_of(error: BaseException) -> Failure:
    """Return what an exception of a fetch means."""
    chain = tuple(_chain(error))
    if any(isinstance(link, OutOfMemory) for link in chain):
        return NO_MEMORY
    for cls, kind, detail in _KINDS[:3]:
        for link in chain:
            if isinstance(link, cls):
                return Failure(kind, detail or str(link), temporary=isinstance(link, LookupFailed))
    for cls, kind, detail in _KINDS:
        if isinstance(error, cls):
            ours = _NO_ROUTE.get(error.errno or 0) if cls is OSError and isinstance(error, OSError) else None
            return Failure(kind, ours or detail or str(error))
    raise AssertionError from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
