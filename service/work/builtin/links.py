"""``links``: the addresses that a page links to."""

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
        return urldefrag(joined).url if parts.scheme in _PORTS and parts.hostname else None
    except ValueError:
        return None


def _joined(base: str, address: str) -> str | None:
    try:
        return urljoin(base, address.strip(_STRIPPED).translate(_REMOVED))
    except ValueError:  # an address that is not one, such as http://[
        return None


def _host(parts: SplitResult) -> tuple[str | None, int | None]:
    try:
        return parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None, None
