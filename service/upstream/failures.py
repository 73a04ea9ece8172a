"""The one table from what libraries raise to the contract's kinds of failure."""

import ssl
from collections.abc import Iterator
from typing import Final

from service.core.fetching.outcome import NO_MEMORY, Failure, FailureKind
from service.core.memory_budget import OutOfMemory
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
    (OSError, "connect", "no connection"),
)
"""The first that fits anywhere in the chain of the guard's own, then the first that fits. What comes before an
answer stays coarse: it must not tell who scans which port is open. Without a text here, the exception has one."""


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
            return Failure(kind, detail or str(error))
    raise AssertionError from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
