"""What an exception of a fetch means to a client: one kind for each, and no word of ports that are open."""

import errno
import ssl
from ipaddress import ip_address

import pytest

from service.core.memory_budget import OutOfMemory
from service.upstream.failures import failure_of
from service.upstream.guard import AddressRefused, LookupFailed, NameNotFound
from service.upstream.http1.errors import ProtocolError, ServerDisconnected, UnwritableRequest


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "detail"),
    [
        (ProtocolError("odd head"), "protocol", "odd head"),
        (UnwritableRequest("odd header"), "invalid_request", "odd header"),
        (ServerDisconnected(silent=True), "connect", str(ServerDisconnected(silent=True))),
        (ConnectionRefusedError(111, "refused"), "connect", "no connection"),
        (TimeoutError(), "connect", "no connection"),
        (OSError(errno.EHOSTUNREACH, "no route to host"), "connect", "no connection"),
        (OSError(errno.EAFNOSUPPORT, "family"), "connect", "no connection: this machine has no IPv6"),
        (
            OSError(errno.EADDRNOTAVAIL, "::1"),
            "connect",
            "no connection: this machine has no IPv6, or no local port is free",
        ),
        (OSError(errno.ENETUNREACH, "net"), "connect", "no connection: this machine has no route to the address"),
        (ssl.SSLError(1, "certificate of 10.0.0.1"), "tls", "no trusted TLS connection"),
        (ssl.CertificateError("for x"), "tls", "no trusted TLS connection"),
        (caused(OSError("dial"), NameNotFound("x")), "dns", "the name has no address"),
        (
            caused(ServerDisconnected(silent=True), ssl.SSLError(1, "x")),
            "connect",
            str(ServerDisconnected(silent=True)),
        ),
    ],
)
def test_each_error_has_its_kind_and_its_words(error: BaseException, kind: str, detail: str) -> None:
    failure = failure_of(error)
    assert (failure.kind, failure.detail, failure.temporary) == (kind, detail, False)


def test_the_guards_own_count_anywhere_in_the_chain() -> None:
    refused = caused(OSError("all failed"), caused(OSError("dial"), AddressRefused(str(ip_address("10.0.0.1")))))
    assert (failure_of(refused).kind, failure_of(refused).detail) == ("blocked", "the address is not public")
    failed = failure_of(caused(OSError("dial"), LookupFailed("server failure")))
    assert (failed.kind, failed.detail, failed.temporary) == ("dns", "server failure", True)


def test_memory_that_is_short_wins_over_what_it_led_to() -> None:
    failure = failure_of(caused(ServerDisconnected(silent=True), OutOfMemory()))
    assert (failure.kind, failure.temporary) == ("unavailable", True)


def test_a_bug_is_not_called_a_failure() -> None:
    with pytest.raises(AssertionError):
        failure_of(ZeroDivisionError())
