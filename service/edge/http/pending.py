"""Waiting for an answer of the core in a handler."""

import asyncio
from typing import TypeVar

from service.core.pending import Pending

__all__ = ["answer_of"]

T = TypeVar("T")


async def answer_of(answer: T | Pending[T]) -> T:
    """Return the answer, or raise the error that stands for it."""
    if not isinstance(answer, Pending):
        return answer
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def take(outcome: T | Exception) -> None:
        if future.done():
            return  # the client has gone
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    answer.on_settled(take)
    return await future
