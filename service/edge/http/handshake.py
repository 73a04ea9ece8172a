"""What the opening handshake of a WebSocket asks for (RFC 6455, section 4.2.1), beyond what aiohttp checks."""

import re
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from multidict import CIMultiDict

from service.core.errors import InvalidRequest

__all__ = ["BEARER", "PROTOCOL", "as_one_line_each", "check_handshake", "offered_protocols"]

PROTOCOL: Final = "sluice.v1"
BEARER: Final = "bearer."
"""What a subprotocol entry begins with that carries a token: browsers cannot set headers."""

_VERSION: Final = "13"
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{21}[AQgw]==")
_UPGRADE: Final = {"Sec-WebSocket-Version": _VERSION, "Upgrade": "websocket"}


def check_handshake(request: web.Request) -> None:
    """Raise HTTPUpgradeRequired without a handshake of version 13, and InvalidRequest for what is wrong in one."""
    if request.version < HttpVersion11:
        # Nothing is upgraded there (RFC 9110, section 7.8); nginx passes on so without proxy_http_version.
        raise _upgrade_required("Upgrade: a WebSocket needs HTTP/1.1; a proxy on the way may speak HTTP/1.0")
    if not (_has_member(request, hdrs.UPGRADE, "websocket") and _has_member(request, hdrs.CONNECTION, "upgrade")):
        raise _upgrade_required(
            "Upgrade: this is a WebSocket endpoint; if a WebSocket client sent this, a proxy on the way "
            "took the headers Upgrade and Connection out"
        )
    if request.headers.get(hdrs.SEC_WEBSOCKET_VERSION) != _VERSION:
        # aiohttp takes 7 and 8 too, of drafts that mask and close otherwise (RFC 6455, section 4.4).
        raise _upgrade_required(f"Sec-WebSocket-Version: only {_VERSION} is supported")
    if not _KEY.fullmatch(request.headers.get(hdrs.SEC_WEBSOCKET_KEY, "").strip()):
        raise InvalidRequest("Sec-WebSocket-Key: 16 bytes in base64 are expected")
    offered = offered_protocols(request)
    if offered and PROTOCOL not in offered:
        raise InvalidRequest(f"Sec-WebSocket-Protocol: only {PROTOCOL} is supported")


def offered_protocols(request: web.Request) -> list[str]:
    """Return the subprotocols of all lines: several are one list (RFC 6455, section 11.3.4)."""
    return _members(request, hdrs.SEC_WEBSOCKET_PROTOCOL)


def as_one_line_each(request: web.Request) -> web.BaseRequest:
    """Return the request with its lists as aiohttp reads them: one line each, and Upgrade names one protocol."""
    lines = request.headers.getall
    if (
        len(lines(hdrs.SEC_WEBSOCKET_PROTOCOL, ())) < 2
        and len(lines(hdrs.CONNECTION, ())) < 2
        and len(lines(hdrs.UPGRADE, ())) < 2
        and request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"
    ):
        return request
    headers = CIMultiDict(request.headers)
    headers[hdrs.CONNECTION], headers[hdrs.UPGRADE] = "upgrade", "websocket"
    headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = ", ".join(offered_protocols(request))
    return request.clone(headers=headers)


def _upgrade_required(text: str) -> web.HTTPUpgradeRequired:
    return web.HTTPUpgradeRequired(text=text, headers=_UPGRADE)


def _members(request: web.Request, name: str) -> list[str]:
    """Return the members of a list, of all its lines (RFC 9110, section 5.6.1)."""
    lines = request.headers.getall(name, ())
    if len(lines) == 1 and "," not in lines[0]:
        # Nearly every handshake.
        return [only] if (only := lines[0].strip()) else []
    return [stripped for line in lines for member in line.split(",") if (stripped := member.strip())]


def _has_member(request: web.Request, name: str, member: str) -> bool:
    """Return whether a list has this member, given in lower case; the list may have it in any case."""
    if request.headers.get(name, "").lower() == member:
        return True  # nearly every handshake: the header has no other member
    return any(listed.lower() == member for listed in _members(request, name))
