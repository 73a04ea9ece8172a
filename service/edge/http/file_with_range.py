"""Answers that are a file, or one range of it."""

import re
from typing import Final

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

__all__ = ["FileWithRange"]

_RANGE: Final = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", re.ASCII | re.IGNORECASE)
_BEYOND: Final = 10**18
"""Beyond the end of every file: asking for the last zero bytes is answered as a range that starts here."""


class FileWithRange(web.FileResponse):
    """A file, or the one range of it that is asked for; for anything else in the header, the file is sent whole.

    A server may ignore ranges (RFC 9110, section 14.2), and has to if it does not know the unit. aiohttp answers
    several ranges with 416, as if the file were shorter, and a request for the last zero bytes with all of it.
    """

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Begin the answer."""
        if hdrs.RANGE in request.headers:
            headers = CIMultiDict(request.headers)
            taken = _range_of(headers.popall(hdrs.RANGE))
            if taken is not None:
                headers[hdrs.RANGE] = taken
            request = request.clone(headers=headers)
        return await super().prepare(request)


def _range_of(given: list[str]) -> str | None:
    """Return the range of a request, if there is exactly one."""
    match = _RANGE.fullmatch(given[0]) if len(given) == 1 else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix:
        return f"bytes=-{suffix}" if int(suffix) else f"bytes={_BEYOND}-"
    return f"bytes={first}-{last}" if not last or int(first) <= int(last) else None
