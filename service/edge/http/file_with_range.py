"""Answers that are a file, or one range of it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict, istr

from service.runtime.threads import call_in_thread, needing_threads

__all__ = ["FileWithRange"]

_RANGE: Final = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))", re.ASCII | re.IGNORECASE)
_REFUSALS: Final = {412: web.HTTPPreconditionFailed, 416: web.HTTPRequestRangeNotSatisfiable}
_BEYOND: Final = 10**18
"""Beyond the end of every file: asking for the last zero bytes is answered as a range that starts here."""


class FileWithRange(web.FileResponse):
    """A file, or the one range of it that is asked for; for anything else in the header, the file is sent whole.

    A server may ignore ranges (RFC 9110, section 14.2), and has to if it does not know the unit. aiohttp answers
    several ranges with 416, as if the file were shorter, and a request for the last zero bytes with all of it.
    """

    def __init__(self, path: Path, headers: Mapping[istr, str]) -> None:
        super().__init__(path, headers=headers)
        self._file = path

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the answer; called by the handler, so that what this raises becomes a problem document."""
        if self.prepared:
            return await web.StreamResponse.prepare(self, request)
        if hdrs.RANGE in request.headers:
            headers = CIMultiDict(request.headers)
            taken = _range_of(headers.popall(hdrs.RANGE))
            if taken is not None and not await self._has_changed(request):
                headers[hdrs.RANGE] = taken
            request = request.clone(headers=headers)
        with needing_threads():
            return await super().prepare(request)

    def set_status(self, status: int, reason: str | None = None) -> None:
        """Raise an HTTPException for what aiohttp would answer without a body, to be kept as long as the file."""
        if status >= 400:
            found = self.headers.get(hdrs.CONTENT_RANGE)
            headers = {hdrs.CONTENT_RANGE: found} if found is not None else {}
            raise _REFUSALS.get(status, web.HTTPNotFound)(headers=headers)
        super().set_status(status, reason)

    async def _has_changed(self, request: web.BaseRequest) -> bool:
        """Say whether the client has a part of another file (RFC 9110, section 13.1.5); aiohttp compares times."""
        given = request.headers.get(hdrs.IF_RANGE, "")
        if '"' not in given:
            return False
        try:
            facts = await call_in_thread(None, self._file.stat)
        except OSError:
            return True  # aiohttp does not find it either
        return given.strip() != f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'


def _range_of(given: list[str]) -> str | None:
    """Return the range of a request, if there is exactly one."""
    match = _RANGE.fullmatch(given[0]) if len(given) == 1 else None
    if match is None:
        return None
    first, last, suffix = match.groups()
    if suffix:
        return f"bytes=-{suffix}" if int(suffix) else f"bytes={_BEYOND}-"
    return f"bytes={first}-{last}" if not last or int(first) <= int(last) else None
