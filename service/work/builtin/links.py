"""``links``: the addresses that a page links to."""

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import SplitResult, urldefrag, urljoin, urlsplit

import msgspec

from service.work.pages import page_of
from service.work.step import Body, Made, StepFailed, check_size, step

__all__ = ["Links", "links"]

_MOST: Final = 100_000
_PORTS: Final = {"http": 80, "https": 443}
_REMOVED: Final = {ord(character): None for character in "\t\n\r"}
_STRIPPED: Final = "".join(map(chr, range(0x21)))
"""What the URL standard removes from an address, and from its ends."""
_UNFIT: Final = {code: f"%{code:02X}" for code in (*range(0x21), 0x7F)}
"""What it has encoded; with it a URL cannot be fetched."""
_NO_HOST: Final = re.compile(r"[\0- \x7f<>^|%]")
"""What no host has in the URL standard."""
_PATH: Final = re.compile(r"[^?#]*")
_BEFORE_HOST: Final = re.compile(r"((?:https?:)?//)/*", re.IGNORECASE)


class Links(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which links."""

    same_host: bool = False
    """Only those to the page's own host and port."""


@step("links", Links, runs="process")
def links(body: Body, parameters: Links) -> Made:
    """Return the addresses of all links in order, once each: http and https, absolute, without fragments."""
    page = page_of(body)
    base = _base(page.root, body.url)
    found: dict[str, None] = {}
    size = 0
    own = _host(urlsplit(body.url))
    for address in _addresses(page.root):
        absolute = _absolute(base, address)
        if absolute is not None and (not parameters.same_host or _host(urlsplit(absolute)) == own):
            size += 0 if absolute in found else len(absolute)
            found[absolute] = None
            check_size(size)
            if len(found) > _MOST:
                raise StepFailed(f"the page has more than {_MOST:,} links")
    return Made({"links": list(found)})


def _addresses(root: Any) -> Iterator[str]:
    for element in root.iter("{*}a", "{*}area"):
        if (address := element.get("href")) is not None:
            yield address


def _base(root: Any, url: str) -> str:
    """Return what addresses are relative to: the first ``<base>`` that has an address."""
    for element in root.iter("{*}base"):
        if (address := element.get("href")) is not None:
            return _joined(url, address) or url
    return url


def _absolute(base: str, address: str) -> str | None:
    joined = _joined(base, address)
    if joined is None:
        return None
    try:
        parts = urlsplit(joined)
        if parts.scheme not in _PORTS or not parts.hostname or _NO_HOST.search(parts.hostname) or parts.port == 0:
            return None
    except ValueError:  # of a port that is not one
        return None
    return urldefrag(joined).url.translate(_UNFIT)


def _joined(base: str, address: str) -> str | None:
    """Resolve an address as browsers do: a backslash is a slash, and any number of them may stand before a host."""
    address = address.strip(_STRIPPED).translate(_REMOVED)
    address = _PATH.sub(lambda found: found[0].replace("\\", "/"), address, count=1)
    before = _BEFORE_HOST.match(address)
    try:
        if before is not None:
            address = before[1] + address[before.end() :]
            if not urlsplit(address).netloc:
                return None
        return urljoin(base, address)
    except ValueError:  # an address that is not one, such as http://[
        return None


def _host(parts: SplitResult) -> tuple[str | None, int | None]:
    try:
        return parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None, None
