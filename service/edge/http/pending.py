"""Waiting for an answer of the core in a handler."""

import asyncio
from typing import TypeVar

from service.core.pending import Pending
from service.core.sessions.late_answers import PATIENCE, unanswered
from service.runtime.awaiting import outcome_of

__all__ = ["answer_of"]

T = TypeVar("T")


async def answer_of(answer: T | Pending[T]) -> T:
    """Return the answer, or raise the error that stands for it; Unanswered where none comes in time."""
    if not isinstance(answer, Pending):
        return answer
    try:
        async with asyncio.timeout(PATIENCE):
            return await outcome_of(answer)
    except TimeoutError:
        raise unanswered() from None
