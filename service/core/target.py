"""What a client's URL names: checked once, strictly, and then never parsed again.

The one parser is yarl. The checks before it, on the text itself, refuse what other parsers read
differently: the attacks on address filters live in that difference.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Literal

from yarl import URL

from service.core.address import Policy

__all__ = ["LONGEST_URL", "Refusal", "Target", "check_redirect", "check_url"]

LONGEST_URL = 2048
"""Characters; what browsers and caches agree on (Scrapy has 2083)."""

# C0, space, DEL, C1 and the no-break space, backslash, and what RFC 3986 has in no URL.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\<>^|\"`{}]")
_SHAPE = re.compile(r"(?i:https?)://([^/?#]+)(?=[/?#]|$)")
# Nothing in it can be quoted, decoded, folded or normalised: it is parsed in half the time.
_PLAIN = re.compile(
    r"https?://[a-z0-9.-]+(?::[0-9]+)?/(?:[A-Za-z0-9_~-][A-Za-z0-9_~.-]*(?:/[A-Za-z0-9_~-][A-Za-z0-9_~.-]*)*/?)?"
    r"(?:\?[A-Za-z0-9_~.=&-]+)?",
    re.ASCII,
)
# Wider than RFC 3986: yarl takes "1:" for a scheme too.
_REFERENCE = re.compile(r"(?:[^/?#]*:)?//([^/?#]*)")
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:@%]+)(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?", re.ASCII)
_NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)

Kind = Literal["invalid_url", "blocked"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a URL is not fetched; the detail is for its sender."""

    kind: Kind
    detail: str


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be fetched, if the addresses behind its name may be dialled."""

    url: URL
    host: str
    port: int
    origin: str
    """Scheme, host and port: what limits, credentials and robots.txt go by (RFC 6454)."""


def check_url(text: str, policy: Policy) -> Target | Refusal:
    """Return what the URL names, or why it is not fetched: ``invalid_url`` or ``blocked``."""
    if len(text) > LONGEST_URL:
        return Refusal("invalid_url", f"longer than {LONGEST_URL} characters")
    if _FORBIDDEN.search(text):
        return Refusal("invalid_url", "has a character that no URL has")
    shape = _SHAPE.match(text)
    if shape is None:
        return Refusal("invalid_url", "not an absolute http or https URL")
    judged = _judge(shape[1], shape[0][:5].lower() == "https", policy)
    if isinstance(judged, Refusal):
        return judged
    try:
        return Target(URL(text, encoded=_PLAIN.fullmatch(text) is not None), *judged)
    except ValueError:
        return Refusal("invalid_url", "cannot be parsed")


def check_redirect(base: Target, location: str, policy: Policy) -> Target | Refusal:
    """Return where a ``Location`` leads (RFC 9110, section 10.2.2), or why it is not followed."""
    if len(location) > LONGEST_URL or _FORBIDDEN.search(location):
        return Refusal("invalid_url", "the redirect's Location is no URL")
    named = _REFERENCE.match(location)
    if named and not _AUTHORITY.fullmatch(named[1]):
        # Some of these end yarl with an IndexError.
        return Refusal(
            "invalid_url", "the part of the redirect's Location after // must be a host and at most a port"
        )
    try:
        joined = base.url.join(URL(location))
        # yarl looks at the port only now.
        text = str(joined)
    except ValueError:
        return Refusal("invalid_url", "the redirect's Location cannot be parsed")
    if base.url.scheme == "https" and joined.scheme == "http":
        return Refusal("blocked", "the redirect leads from https to http")
    return check_url(text, policy)


@lru_cache(maxsize=4096)
def _judge(authority: str, tls: bool, policy: Policy) -> Refusal | tuple[str, int, str]:
    """Judge what stands between ``//`` and the path: return host, port and origin, or why it is refused.

    Remembered, because the URLs of a batch have few authorities, and most of the cost is here.
    """
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        return Refusal("invalid_url", "the part after // must be a host and at most a port")
    try:
        url = URL(f"{'https' if tls else 'http'}://{authority}/")
    except ValueError:
        return Refusal("invalid_url", "cannot be parsed")
    host, port = parts["host"], parts["port"]
    if not url.raw_host or not url.port or (port is not None and int(port) != url.port):
        return Refusal("invalid_url", "has no host, or a port that cannot be")
    refusal = _check_literal(host, policy) if host[0] == "[" else _check_name(host, url.raw_host, policy)
    if refusal is not None:
        return refusal
    if url.port not in policy.ports:
        return Refusal("blocked", f"port {url.port} is not allowed here")
    host = url.raw_host.rstrip(".")
    return host, url.port, f"{url.scheme}://{host}:{url.port}"


def _check_literal(host: str, policy: Policy) -> Refusal | None:
    try:
        address = IPv6Address(host[1:-1])
    except AddressValueError:
        return Refusal("invalid_url", "not an IPv6 address")
    return None if policy.allows(address) else Refusal("blocked", "the address is not public")


def _check_name(host: str, raw_host: str, policy: Policy) -> Refusal | None:
    """Check a name or an IPv4 address; ``raw_host`` is what yarl made of it (IDNA, lower case)."""
    labels = raw_host.rstrip(".").split(".")
    # WHATWG's "ends in a number": whatever looks like an IPv4 address has to be one, in its only spelling.
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        if raw_host != host.lower():
            return Refusal("invalid_url", "a host name that normalises to an address")
        return _check_ipv4(raw_host, policy)
    if not _NAME.fullmatch(raw_host) or len(raw_host) > 253:
        return Refusal("invalid_url", "not a host name")
    if labels[-1] == "localhost" and not policy.nets:
        return Refusal("blocked", "localhost is not public")
    return None


def _check_ipv4(host: str, policy: Policy) -> Refusal | None:
    try:
        address = IPv4Address(host.removesuffix("."))
    except AddressValueError:
        return Refusal("invalid_url", "not an IPv4 address in its usual form")
    if host.endswith("."):
        return Refusal("blocked", "an address has no trailing dot")
    return None if policy.allows(address) else Refusal("blocked", "the address is not public")
