"""Where the server is and how it is reached: its URL, its addresses, the headers and TLS that requests carry."""

import asyncio
import base64
import re
import ssl
from argparse import Namespace
from dataclasses import dataclass, field
from socket import SOCK_STREAM
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from multidict import CIMultiDict
from yarl import URL

from loadtest.headers import Headers, parse_headers
from service.runtime.bounded_files import read_certificates

__all__ = ["Addresses", "Endpoint", "NoAddress", "endpoint_of", "in_path"]

_SCHEMES = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_MOST_ADDRESSES = 32
_SAFE = "/!$&'()*+,;=:@%~?-._[]"
SocketAddress = tuple[int, tuple[Any, ...]]
"""A socket's family and what it connects to."""


class NoAddress(OSError):
    """The name stands for nothing; the text says why."""


class Addresses:
    """All addresses that a name stands for: connections are spread over those that answer."""

    def __init__(self) -> None:
        self._all: list[SocketAddress] = []
        self._refused: set[SocketAddress] = set()

    async def look_up(self, host: str, port: int, timeout: float) -> None:
        """Ask what a name stands for; raises NoAddress."""
        try:
            async with asyncio.timeout(timeout):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=SOCK_STREAM)
        except TimeoutError:
            raise NoAddress(f"no answer within {timeout:g} s") from None
        except (OSError, UnicodeError) as error:
            raise NoAddress(getattr(error, "strerror", None) or str(error)) from None
        self._all = list(dict.fromkeys((int(one[0]), tuple(one[4])) for one in found))[:_MOST_ADDRESSES]

    def order(self, number: int) -> list[SocketAddress]:
        """Return the addresses in the order in which client ``number`` tries them: those that refused come last."""
        turned = [self._all[(number + place) % len(self._all)] for place in range(len(self._all))]
        return sorted(turned, key=self._refused.__contains__)

    def refused(self, address: SocketAddress) -> None:
        """Note that an address did not take a connection."""
        self._refused.add(address)

    def accepted(self, address: SocketAddress) -> None:
        """Note that it did."""
        self._refused.discard(address)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The server as ``--url`` and its companions name it."""

    host: str
    port: int
    path: str = ""
    """What stands before the path of a request; empty, or begins with a slash and does not end with one."""
    query: str = ""
    headers: Headers = ()
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    """What TLS asks for and checks the certificate against."""
    compress: bool = False
    addresses: Addresses = field(default_factory=Addresses)

    @property
    def authority(self) -> str:
        """Host and port as the ``Host`` header has them: a port that the scheme implies is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def root(self) -> str:
        """Scheme, host and port for HTTP requests."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    @property
    def base(self) -> str:
        """The URL for HTTP requests, without a slash at its end."""
        return f"{self.root}{self.path}"

    @property
    def http_server_name(self) -> str | None:
        """What an HTTP client has to ask for in TLS, where it is not the URL's name."""
        return self.server_name if self.tls and self.server_name != self.host else None

    def url(self, path: str) -> URL:
        """Return the URL of an HTTP request, with the query of ``--url``."""
        return URL(f"{self.root}{self.request_target(path)}", encoded=True)

    @property
    def fields(self) -> CIMultiDict[str]:
        """The headers for an HTTP client; a header that was given twice is sent twice."""
        return CIMultiDict(self.headers)

    def request_target(self, path: str) -> str:
        """Return path and query of a request for ``path``, which may have a query of its own."""
        own, _, query = path.partition("?")
        # A URL that names the WebSocket itself is taken as it is.
        whole = self.path if own and self.path.endswith(own) else self.path + own
        queries = "&".join(part for part in (query, self.query) if part)
        return (whole or "/") + (f"?{queries}" if queries else "")


def in_path(template: str, topic: str, token: str = "") -> str:
    """Return a path in which ``{topic}`` is the topic's name, and ``{token}`` the client's token."""
    values = {"{topic}": topic, "{token}": token}
    return re.sub(r"\{(?:topic|token)\}", lambda found: quote(values[found[0]], safe=""), template)


def endpoint_of(options: Namespace) -> Endpoint:
    """Return the endpoint that the options describe; raises ValueError for the first that is wrong."""
    url = options.url
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"--url: {url!r} is not a URL: {error}") from None
    if parts.scheme not in _SCHEMES or not host or port == 0:
        raise ValueError(f"--url: {url!r} is not an http, https, ws or wss URL")
    secure = parts.scheme in ("https", "wss")
    return Endpoint(
        _ascii(host),
        port or _SCHEMES[parts.scheme],
        quote(parts.path.rstrip("/"), _SAFE),
        quote(parts.query, _SAFE),
        _with_user(parse_headers(options.header, options.token), parts.username, parts.password),
        _tls(options) if secure else None,
        options.sni or _ascii(host),
        options.compress,
    )


def _ascii(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError as error:
        raise ValueError(f"--url: {host!r} is not a name: {error}") from None


def _with_user(headers: Headers, user: str | None, password: str | None) -> Headers:
    """Add the user of the URL as basic authentication, unless other credentials are given."""
    if user is None or any(name.lower() == "authorization" for name, _ in headers):
        return headers
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return (*headers, ("Authorization", f"Basic {base64.b64encode(pair).decode()}"))


def _tls(options: Namespace) -> ssl.SSLContext:
    try:
        trusted = read_certificates(options.ca, pipes=True) if options.ca else None
        context = ssl.create_default_context(cadata=trusted)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"--ca: {options.ca} has no certificates in PEM form: {error}") from None
    context.set_alpn_protocols(["http/1.1"])
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.cert:
        try:
            context.load_cert_chain(options.cert, options.key or None, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ValueError(f"--cert: {options.cert} with --key {options.key or 'in it'}: {error}") from None
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted; write it without a password")
