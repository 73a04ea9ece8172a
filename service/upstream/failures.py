"""The one table from what libraries raise to the contract's kinds of failure."""

import ssl
from collections.abc import Iterator
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from service.core.batch import Failure, Kind
from service.upstream.guard import AddressRefused, NameNotFound

__all__ = ["failure_of"]

_KINDS: Final[tuple[tuple[type[BaseException], Kind, str], ...]] = (
    (AddressRefused, "blocked", "the address is not public"),
    (NameNotFound, "dns", "the name has no address"),
    (aiohttp.ClientConnectorDNSError, "dns", "the name has no address"),
    (aiohttp.ClientSSLError, "tls", "no trusted TLS connection"),
    (ssl.SSLError, "tls", "no trusted TLS connection"),
    (aiohttp.InvalidURL, "invalid_url", "cannot be requested"),
    (aiohttp.ClientPayloadError, "protocol", "the body broke off or is malformed"),
    (aiohttp.ClientResponseError, "protocol", "the answer is not HTTP"),
    (aiohttp.ServerConnectionError, "connect", "the connection broke before an answer"),
    (OSError, "connect", "no connection"),
    (ValueError, "protocol", "the answer is not HTTP"),
    (HttpProcessingError, "protocol", "the answer is not HTTP"),
    (aiohttp.ClientError, "protocol", "the answer is not HTTP"),
)
"""The first that fits anywhere in the chain of the guard's own, then the first that fits. Details stay
coarse: they must not tell who scans which port is open."""


def failure_of(error: BaseException) -> Failure:
    """Return what an exception of a fetch means."""
    chain = tuple(_chain(error))
    for kind in _KINDS[:2]:
        if any(isinstance(link, kind[0]) for link in chain):
            return Failure(kind[1], kind[2])
    for cls, kind_, detail in _KINDS:
        if isinstance(error, cls):
            return Failure(kind_, detail)
    raise AssertionError from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(inner := getattr(error, "os_error", None), BaseException):
            yield inner
        error = error.__cause__
