"""Waiting for an answer of the core in a handler."""

import asyncio
from typing import Final, TypeVar

from aiohttp import web

from service.core.pending import Pending
from service.runtime.awaiting import outcome_of

__all__ = ["PATIENCE", "answer_of"]

T = TypeVar("T")

PATIENCE: Final = 30.0
"""Seconds that a request waits for the store: a disk of another machine may answer nothing at all."""
_UNANSWERED: Final = (
    f"storage: it has not answered within {PATIENCE:g} s, and may have stored the message or not; "
    "what had an Idempotency-Key can be repeated"
)


async def answer_of(answer: T | Pending[T]) -> T:
    """Return the answer, or raise the error that stands for it; HTTPGatewayTimeout where none comes in time."""
    if not isinstance(answer, Pending):
        return answer
    try:
        async with asyncio.timeout(PATIENCE):
            return await outcome_of(answer)
    except TimeoutError:
        raise web.HTTPGatewayTimeout(text=_UNANSWERED) from None
