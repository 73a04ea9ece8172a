"""What a URL names: parsed once, by the grammar of RFC 3986, and never parsed again.

The verdict, the key of flights and caches, the request line and the dialled address all come from one
:class:`Target`. Its URL is what was given, changed only where every server reads the same (RFC 3986, section
6.2.2): the case of scheme and host, dot segments, a default port, an empty path. What is percent-encoded stays as
it is, byte for byte, because signatures of URLs depend on it; so the key is exactly what is sent, and nobody can
have an answer stored under another spelling than the one that was asked. Characters that no URL may have, and
all beyond ASCII, are percent-encoded as UTF-8, as browsers do it.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, Literal, NamedTuple

import idna
from msgspec import Struct, structs

from service.core.fetching.dial_policy import Policy

__all__ = ["LONGEST_LOCATION", "LONGEST_URL", "Refusal", "Target", "check_redirect", "check_url", "final_url"]

LONGEST_URL: Final = 8192
"""Characters of a client's URL, as it is sent; RFC 9110, section 4.1, asks for 8,000."""
LONGEST_LOCATION: Final = 65_536
"""Characters of a URL that a redirect leads to: sign-on services put whole documents into it."""

_PORTS: Final = {"http": 80, "https": 443}
# RFC 3986, appendix B, with the scheme of section 3.1.
_PARTS: Final = re.compile(
    r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(#.*)?", re.ASCII | re.DOTALL
)
# Most URLs: nothing in them is changed, so that taking them apart is all. Dot segments are looked for beside.
_PLAIN: Final = re.compile(r"(https?)://([A-Za-z0-9.:-]{1,250})(/[A-Za-z0-9_~=&?+,;:@!$'()*/.%-]*)", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SPACE: Final = re.compile(r"[\x00-\x20\x7f]")
# Square brackets and a % without digits do not belong in a path or query either, but everybody sends them.
_ENCODED: Final = re.compile(r"[^!#-;=?-\[\]_a-z~]+")
_DOTS: Final = re.compile(r"/(?:\.|%2[Ee]){1,2}(?:/|\Z)")
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@%]+)(?::([0-9]{0,5}))?")
_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?")
_LONGEST_NAME: Final = 253
_LONGEST_AUTHORITY: Final = _LONGEST_NAME + len(".:65535")
_NUMERIC_LABEL: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")

RefusalKind = Literal["invalid_url", "blocked"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a URL is not fetched; the detail is for its sender."""

    kind: RefusalKind
    detail: str


class Target(Struct, frozen=True, gc=False):
    """A URL that may be fetched, if the addresses behind its name may be dialled."""

    url: str
    """The absolute URL in ASCII, without its fragment: what flights, caches and watches go by."""
    scheme: str
    host: str
    """In lower case, as A-labels, without a trailing dot; an IPv6 address without its brackets."""
    port: int
    origin: str
    """Scheme, host and port: what limits, credentials and robots.txt go by (RFC 6454)."""
    request_target: str
    """Path and query as the request line carries them."""
    fragment: str = ""
    """With its ``#``, or empty; never sent, it only comes back in ``final_url``."""

    def at(self, request_target: str) -> "Target":
        """Return a canonical path and query of the same origin."""
        url = self.url.removesuffix(self.request_target) + request_target
        return Target(url, self.scheme, self.host, self.port, self.origin, request_target)

    def without_fragment(self) -> "Target":
        """Return it as it is sent: one request serves all fragments."""
        return structs.replace(self, fragment="")


class _Parts(NamedTuple):
    """A reference, split; query and fragment have their marks, what is missing is None."""

    scheme: str | None
    authority: str | None
    path: str
    query: str | None
    fragment: str | None


class _Site(NamedTuple):
    """What stands before the path, judged."""

    scheme: str
    host: str
    port: int
    origin: str
    prefix: str
    """The beginning of a URL there, up to the path."""


def check_url(text: str, policy: Policy) -> Target | Refusal:
    """Return what a client's URL names, or why it is not fetched: ``invalid_url`` or ``blocked``."""
    if len(text) > LONGEST_URL:
        return Refusal("invalid_url", f"longer than {LONGEST_URL} characters")
    plain = _PLAIN.fullmatch(text)
    if plain is not None and "/." not in text and "/%2" not in text:
        site, path = _judge(plain[1], plain[2], policy), plain[3]
        return site if isinstance(site, Refusal) else Target(site.prefix + path, *site[:4], path)
    if _SPACE.search(text):
        return Refusal("invalid_url", "has a space or a control character: percent-encode it")
    return _absolute(_split(text), policy, LONGEST_URL)


def check_redirect(base: Target, location: str, policy: Policy) -> Target | Refusal:
    """Return where a ``Location`` leads (RFC 9110, section 10.2.2), or why it is not followed.

    A header's value is opaque octets, so ``location`` is its octets decoded as Latin-1. Around it whitespace is
    dropped, and tabs inside it, as browsers do; spaces are encoded. A fragment is inherited.
    """
    text = _text_of(location.strip(" \t").replace("\t", ""))
    if len(text) > LONGEST_LOCATION:
        return _refused(Refusal("invalid_url", f"longer than {LONGEST_LOCATION} characters"))
    if _CONTROL.search(text):
        return _refused(Refusal("invalid_url", "has a control character"))
    parts = _split(text)
    if parts.authority is None and parts.scheme in (None, base.scheme):
        found = _relative(base, parts)
    elif base.scheme == "https" and parts.scheme == "http":
        return Refusal("blocked", "the redirect leads from https to http")
    else:
        found = _absolute(parts._replace(scheme=parts.scheme or base.scheme), policy, LONGEST_LOCATION)
    if isinstance(found, Refusal):
        return _refused(found)
    return structs.replace(found, fragment=base.fragment) if parts.fragment is None and base.fragment else found


def final_url(fetched: Target, asked: str) -> str:
    """Return where an answer came from, for its client: a redirect's fragment, or that of the URL asked for."""
    _, mark, fragment = asked.partition("#")
    return fetched.url + (fetched.fragment or (_encoded(mark + fragment) if mark else ""))


def _refused(refusal: Refusal) -> Refusal:
    return Refusal(refusal.kind, f"the redirect's Location: {refusal.detail}")


def _text_of(octets: str) -> str:
    """Read octets as UTF-8; those that are not become surrogate escapes, which are encoded as they were."""
    if octets.isascii():
        return octets
    return octets.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _split(text: str) -> _Parts:
    found = _PARTS.fullmatch(text)
    assert found is not None, "the expression matches every text"
    scheme, authority, path, query, fragment = found.groups()
    return _Parts(scheme and scheme.lower(), authority, path, query, fragment)


def _absolute(parts: _Parts, policy: Policy, longest: int) -> Target | Refusal:
    if parts.scheme not in _PORTS or parts.authority is None:
        return Refusal("invalid_url", "not an absolute http or https URL")
    if len(parts.authority) > _LONGEST_AUTHORITY:
        return Refusal("invalid_url", f"the host name is longer than {_LONGEST_NAME} characters")
    site = _judge(parts.scheme, parts.authority, policy)
    return site if isinstance(site, Refusal) else _target(site, parts, longest)


def _relative(base: Target, parts: _Parts) -> Target | Refusal:
    """Resolve a reference within an origin (RFC 3986, section 5.2.2)."""
    path, mark, query = base.request_target.partition("?")
    if not parts.path:
        parts = parts._replace(path=path, query=parts.query if parts.query is not None else mark + query)
    elif parts.path[0] != "/":
        parts = parts._replace(path=path[: path.rindex("/") + 1] + parts.path)
    prefix = base.url.removesuffix(base.request_target)
    return _target(_Site(base.scheme, base.host, base.port, base.origin, prefix), parts, LONGEST_LOCATION)


def _target(site: _Site, parts: _Parts, longest: int) -> Target | Refusal:
    if "\\" in parts.path:
        return Refusal("invalid_url", "has a backslash in its path: percent-encode it, or write a slash")
    try:
        path = _without_dots(_encoded(parts.path)) if parts.path else "/"
        target = path + _encoded(parts.query) if parts.query else path
        fragment = _encoded(parts.fragment) if parts.fragment else ""
    except UnicodeEncodeError:
        return Refusal("invalid_url", "has half of a surrogate pair, which is not a character")
    url = site.prefix + target
    if len(url) + len(fragment) > longest:
        return Refusal("invalid_url", f"longer than {longest} characters when percent-encoded")
    return Target(url, site.scheme, site.host, site.port, site.origin, target, fragment)


def _encoded(text: str) -> str:
    return _ENCODED.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return "%" + found[0].encode("utf-8", "surrogateescape").hex("%").upper()


def _without_dots(path: str) -> str:
    """Remove dot segments (RFC 3986, section 5.2.4), encoded ones too; ``path`` begins with a slash."""
    if not _DOTS.search(path):
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for segment in segments:
        plain = segment.replace("%2e", ".").replace("%2E", ".")
        if plain == "..":
            del kept[-1:]
        elif plain != ".":
            kept.append(segment)
    if plain in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


@lru_cache(maxsize=4096)
def _judge(scheme: str, authority: str, policy: Policy) -> _Site | Refusal:
    """Judge what stands between ``//`` and the path.

    Remembered, because the URLs of a batch have few authorities, and most of the cost is here.
    """
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        return Refusal("invalid_url", "the part after // must be a host and at most a port")
    port = int(parts[2] or _PORTS[scheme])
    if not 0 < port < 65_536:
        return Refusal("invalid_url", "the port must be from 1 to 65535")
    host = _literal(parts[1], policy) if parts[1][0] == "[" else _name(parts[1], policy)
    if isinstance(host, Refusal):
        return host
    if port not in policy.ports:
        return Refusal("blocked", f"port {port} is not allowed here")
    written = f"[{host}]" if ":" in host else host
    origin = f"{scheme}://{written}:{port}"
    prefix = f"{scheme}://{written}" if port == _PORTS[scheme] else origin
    return _Site(scheme, host, port, origin, prefix)


def _literal(host: str, policy: Policy) -> str | Refusal:
    try:
        address = IPv6Address(host[1:-1])
    except AddressValueError:
        return Refusal("invalid_url", "not an IPv6 address")
    return str(address) if policy.allows(address) else Refusal("blocked", "the address is not public")


def _name(host: str, policy: Policy) -> str | Refusal:
    """Check a name or an IPv4 address, and return it as it is dialled."""
    try:
        ascii_host = host.lower() if host.isascii() else _a_labels(host)
    except (idna.IDNAError, UnicodeError, ValueError):
        return Refusal("invalid_url", "not a host name that can be written in ASCII (IDNA)")
    name = ascii_host.removesuffix(".")
    last = name.rpartition(".")[2]
    # WHATWG's "ends in a number": what looks like an IPv4 address has to be one, in its only spelling.
    if _NUMERIC_LABEL.fullmatch(last):
        if not host.isascii():
            return Refusal("invalid_url", "a host name that normalises to an address")
        return _ipv4(ascii_host, policy)
    if not _NAME.fullmatch(ascii_host) or len(name) > _LONGEST_NAME:
        return Refusal("invalid_url", "not a host name")
    if last == "localhost" and not policy.nets:
        return Refusal("blocked", "localhost is not public")
    return name


def _a_labels(host: str) -> str:
    """Write an international name in ASCII: mapped as UTS 46 has it, then encoded as IDNA 2008 has it."""
    mapped = idna.uts46_remap(host, std3_rules=False, transitional=False)
    return ".".join(label if label.isascii() else _a_label(label) for label in mapped.split("."))


def _a_label(label: str) -> str:
    try:
        return idna.alabel(label).decode()
    except idna.InvalidCodepoint:
        # IDNA 2008 has no symbols; UTS 46, browsers and curl have, and names with emoji are registered.
        if "\u200c" in label or "\u200d" in label:
            raise
        idna.check_bidi(label)
        return "xn--" + label.encode("punycode").decode()


def _ipv4(host: str, policy: Policy) -> str | Refusal:
    try:
        address = IPv4Address(host.removesuffix("."))
    except AddressValueError:
        return Refusal("invalid_url", "not an IPv4 address in its usual form")
    if host.endswith("."):
        return Refusal("blocked", "an address has no trailing dot")
    return host if policy.allows(address) else Refusal("blocked", "the address is not public")
