"""What has to be so before the service can run, beyond the types of its settings: a line for each that is not.

Each line names the option, says what is wrong with it, and what to do.
"""

import errno
import re
import socket
import ssl
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from service.core.jobs.webhooks import read_secret
from service.runtime.bounded_files import CREDENTIALS, DOCUMENT, read_bounded

__all__ = ["is_loopback", "listening", "names", "networks", "tls", "tls_context", "webhook_secret"]

_ORIGIN: Final = re.compile(r"https?://[^/\s?#]+/?", re.IGNORECASE)
_HOST: Final = re.compile(r"[A-Za-z0-9_.-]+|\[?[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?")
_METHOD: Final = re.compile(r"[A-Z]{1,20}")


def tls_context(cert: str, key: str) -> ssl.SSLContext:
    """Return the context to listen with; raises OSError for files that do not fit, or have a password."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # Without an answer to the question for its password, OpenSSL asks the person at the terminal.
    context.load_cert_chain(cert, key, password="")
    return context


def tls(cert: str | None, key: str | None) -> list[str]:
    """Check the two files of a certificate."""
    if cert is None or key is None:
        return ["--tls-cert, --tls-key: only one of them is given: give both, or none"] if cert or key else []
    # OpenSSL reads files by itself, and without a bound.
    (_, unreadable), (text, more) = _read("--tls-cert", cert, DOCUMENT), _read("--tls-key", key, CREDENTIALS)
    if unreadable or more:
        return [*unreadable, *more]
    if b"ENCRYPTED" in text:
        return ["--tls-key: has a password: write it without one (openssl pkey), readable by the service alone"]
    try:
        tls_context(cert, key)
    except OSError as error:
        return [f"--tls-cert, --tls-key: {_tls_advice(error)}"]
    return []


def _tls_advice(error: OSError) -> str:
    reason = getattr(error, "reason", "") or ""
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's: take the pair that was issued together"
    return f"cannot be used ({reason or error}): both have to be PEM, the certificate first in its chain"


def _read(option: str, path: str, most: int) -> tuple[bytes, list[str]]:
    """Return the bytes of a file, or a line that says why it cannot be read."""
    try:
        return read_bounded(path, most), []
    except OSError as error:
        return b"", [f"{option}: {path} cannot be read ({error.strerror}): look at its name and permissions"]


def webhook_secret(path: str | None) -> list[str]:
    """Say what is wrong with the file of the secret that signs the calls of jobs."""
    if path is None:
        return []
    text, wrong = _read("--webhook-secret-file", path, CREDENTIALS)
    if wrong:
        return wrong
    try:
        read_secret(text.decode())
    except ValueError as error:
        return [f"--webhook-secret-file: {path}: {error}; make one: echo whsec_$(openssl rand -base64 32)"]
    return []


def celery(broker: str | None, module: str | None) -> list[str]:
    """Say what is wrong with the broker of functions."""
    if broker is None:
        return []
    try:
        scheme = urlsplit(broker).scheme
    except ValueError:  # a bracket without its other half
        scheme = ""
    if scheme not in ("redis", "rediss", "amqp", "amqps"):
        return ["--celery: a URL of Redis (redis://HOST:6379/0) or of RabbitMQ (amqp://USER:PASSWORD@HOST//)"]
    if module is None:
        return ["--celery: needs --jobs MODULE too, which says what functions there are"]
    return []


def listening(host: str, port: int) -> list[str]:
    """Try the address; one in use is not a mistake: the service that is to be replaced may have it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (TypeError, UnicodeError):  # from the codec of names: too long, or with characters that no name has
        return [f"--host: {host} is not a host: write an address of this machine, or its name"]
    except PermissionError:
        return [f"--port: {port} needs a privilege: choose one above 1023, or grant CAP_NET_BIND_SERVICE"]
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT:
            return [f"--host: {host} needs IPv6, which this machine does not have: take an IPv4 address (0.0.0.0)"]
        if host.startswith("["):
            return [f"--host: {host} has brackets, as in a URL: write {host.strip('[]')}"]
        if error.errno != errno.EADDRINUSE:
            return [f"--host: {host} is not an address of this machine ({error.strerror}): see ip address"]
    return []


def networks(given: Mapping[str, Iterable[str]]) -> list[str]:
    """Find what is not a network, by the name of its setting."""
    wrong = []
    for name, texts in given.items():
        for text in texts:
            try:
                ip_network(text)
            except ValueError as error:
                wrong.append(f"--{name.replace('_', '-')}: {error}")
    return wrong


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def names(origins: Iterable[str], hosts: Iterable[str], methods: Iterable[str]) -> list[str]:
    """Find names that would never match what is compared with them."""
    return [
        *(
            f"--allow-origin: {origin} is not an origin: write https://page.example, with its port, without a path"
            for origin in origins
            if not _ORIGIN.fullmatch(origin)
        ),
        *(
            f"--allow-host: {host} is not a host: write a name or an address, without scheme and port"
            for host in hosts
            if not _HOST.fullmatch(host)
        ),
        *(
            f"--allow-method: {method} is not a method: write it in capitals"
            for method in methods
            if not _METHOD.fullmatch(method)
        ),
    ]
