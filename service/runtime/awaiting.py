"""Waiting for an answer of the core in a task."""

import asyncio
from typing import TypeVar

from service.core.pending import Pending

__all__ = ["outcome_of"]

T = TypeVar("T")


async def outcome_of(answer: T | Pending[T]) -> T:
    """Return the answer when it is there, or raise the error that stands for it."""
    if not isinstance(answer, Pending):
        return answer
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def settle(outcome: T | Exception) -> None:
        if future.done():
            return  # nobody waits any more
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    answer.on_settled(settle)
    return await future
