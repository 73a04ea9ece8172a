"""Answers that are one JSON document of this moment."""

from typing import Final

from aiohttp import hdrs, web

__all__ = ["json_answer"]

_NO_STORE: Final = {hdrs.CACHE_CONTROL: "no-store"}
"""No cache may keep it: it is another one the next time."""


def json_answer(document: bytes) -> web.Response:
    """Return the answer with a document that is encoded already."""
    return web.Response(body=document, content_type="application/json", headers=_NO_STORE)
