"""What aiohttp lets in though another server on the way may read it as something else, or as two requests."""

from typing import Final

from aiohttp import HttpVersion11, hdrs, web

__all__ = ["check_framing"]

_MAJOR: Final = 1


def check_framing(request: web.Request) -> None:
    """Raise an HTTPException for such a request, after whose answer its connection has to be closed."""
    if request.version.major != _MAJOR:
        raise web.HTTPVersionNotSupported(text="only HTTP/1.1 and HTTP/1.0 are supported")
    if hdrs.TRANSFER_ENCODING in request.headers:
        if request.version < HttpVersion11:
            # Its end is not where others see it (RFC 9112, section 6.1).
            raise web.HTTPBadRequest(text="Transfer-Encoding: HTTP/1.0 has none")
        codings = ",".join(request.headers.getall(hdrs.TRANSFER_ENCODING)).split(",")
        if [coding.strip(" \t").lower() for coding in codings] != ["chunked"]:
            raise web.HTTPNotImplemented(text="Transfer-Encoding: only chunked is supported")
