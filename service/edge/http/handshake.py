"""What the opening handshake of a WebSocket asks for (RFC 6455, section 4.2.1), beyond what aiohttp checks."""

from typing import Final

from aiohttp import hdrs, web
from multidict import CIMultiDict

from service.core.errors import InvalidRequest

__all__ = ["BEARER", "PROTOCOL", "check_handshake", "offered_protocols", "with_one_protocol_line"]

PROTOCOL: Final = "sluice.v1"
BEARER: Final = "bearer."
"""What a subprotocol entry begins with that carries a token: browsers cannot set headers."""

_VERSION: Final = "13"
_UPGRADE: Final = {"Sec-WebSocket-Version": _VERSION, "Upgrade": "websocket"}


def check_handshake(request: web.Request) -> None:
    """Raise HTTPUpgradeRequired without a handshake of version 13, and InvalidRequest for unknown subprotocols."""
    if not request.headers.get(hdrs.UPGRADE):
        raise web.HTTPUpgradeRequired(
            text="Upgrade: this is a WebSocket endpoint; if a WebSocket client sent this, a proxy on the way "
            "took the headers Upgrade and Connection out",
            headers=_UPGRADE,
        )
    if request.headers.get(hdrs.SEC_WEBSOCKET_VERSION) != _VERSION:
        # aiohttp takes 7 and 8 too, of drafts that mask and close otherwise (RFC 6455, section 4.4).
        raise web.HTTPUpgradeRequired(
            text=f"Sec-WebSocket-Version: only {_VERSION} is spoken here", headers=_UPGRADE
        )
    offered = offered_protocols(request)
    if offered and PROTOCOL not in offered:
        raise InvalidRequest(f"Sec-WebSocket-Protocol: only {PROTOCOL} is spoken here")


def offered_protocols(request: web.Request) -> list[str]:
    """Return the subprotocols of all lines: several are one list (RFC 6455, section 11.3.4)."""
    lines = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ())
    return [name.strip() for line in lines for name in line.split(",")]


def with_one_protocol_line(request: web.Request) -> web.BaseRequest:
    """Return the request with its subprotocols in one line: of several aiohttp reads the first."""
    if len(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ())) < 2:
        return request
    headers = CIMultiDict(request.headers)
    headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = ", ".join(offered_protocols(request))
    return request.clone(headers=headers)
