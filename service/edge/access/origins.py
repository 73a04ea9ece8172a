"""Which web pages may use the service: its own, and those that the operator allows.

A browser says what made a request: ``Host`` is the name in its address bar, ``Origin`` is the page of a
WebSocket, a POST or a CORS request, and ``Sec-Fetch-Site`` tells requests without an Origin (an image, a link)
of other pages from ours (Fetch Metadata Request Headers, W3C).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from service.core.errors import Forbidden
from service.edge.access.admission import AdmissionControl
from service.edge.http.problems import ISOLATION

__all__ = ["AllowedOrigins", "isolate"]

_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]{0,5})?")
"""RFC 9110, section 7.2: a host and a port, without userinfo."""
_ORIGIN: Final = re.compile(rf"(https?)://({_HOST.pattern})", re.IGNORECASE)
_PORTS: Final = {"http": 80, "https": 443}
_EXPOSED: Final = "Location, Retry-After, Sluice-Batch, Sluice-Epoch, X-Request-Id"
_OTHERS: Final = frozenset({"cross-site", "same-site"})
"""A page of the same site is another program on another port or name."""


class AllowedOrigins:
    """The checks of ``Host``, ``Origin`` and ``Sec-Fetch-Site``."""

    def __init__(
        self,
        *,
        hosts: Iterable[str],
        origins: Iterable[str],
        guarded: Callable[[], bool],
        admission: AdmissionControl,
    ) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._guarded = guarded
        self._admission = admission

    def check_host(self, request: web.Request) -> None:
        """Refuse names that are not ours: a page elsewhere may have made its own name point here."""
        if not _HOST.fullmatch(request.host):
            raise web.HTTPBadRequest(text="Host: must be a name or an address, with an optional port")
        if self._guarded() and not self._hosts:
            return
        host = _hostname(request.host)
        if host is None or not (host in self._hosts or _is_local(host)):
            raise Forbidden("Host: not a name of this service; see --allow-host")

    def check_origin(self, request: web.Request) -> Mapping[str, str]:
        """Refuse foreign pages; return the CORS headers for the ones that were let in."""
        origins = request.headers.getall(hdrs.ORIGIN, ())
        if not origins:
            return {}
        origin = origins[0]
        if len(origins) == 1 and origin.lower() in self._origins:
            return {hdrs.ACCESS_CONTROL_ALLOW_ORIGIN: origin, hdrs.VARY: hdrs.ORIGIN,
                    hdrs.ACCESS_CONTROL_EXPOSE_HEADERS: _EXPOSED}  # fmt: skip
        scheme = self._admission.scheme(request)
        found = _ORIGIN.fullmatch(origin)
        own = _place(scheme, request.host)
        if len(origins) > 1 or found is None or _place(found[1].lower(), found[2]) != own:
            raise Forbidden(
                f"Origin: only pages of {scheme}://{request.host} may use the service; allow others with "
                "--allow-origin, and name a proxy that ends TLS with --trust-proxy"
            )
        return {}

    def check_site(self, request: web.Request) -> None:
        """Refuse what another page embeds or links to: it has no Origin, and what it starts would be ours to do."""
        if hdrs.ORIGIN not in request.headers and request.headers.get("Sec-Fetch-Site", "").lower() in _OTHERS:
            raise Forbidden("Sec-Fetch-Site: another page may not embed this; see --allow-origin")


async def isolate(request: web.Request, response: web.StreamResponse) -> None:
    """Signal ``on_response_prepare``: keep every answer from pages that it is not for."""
    response.headers.update(ISOLATION)


def _place(scheme: str, host: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(f"//{host}")
        return scheme, parts.hostname, _PORTS[scheme] if parts.port is None else parts.port
    except ValueError:  # a port or an address that is not one
        return scheme, host.lower(), None


@lru_cache(maxsize=64)  # clients write the same few
def _hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


@lru_cache(maxsize=64)  # to parse an address takes 20 us, and clients write the same few
def _is_local(host: str) -> bool:
    """Return whether nobody else could make this host point here."""
    if host == "localhost":
        return True
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
