"""Waiting in a task: for an answer of the core, and for a socket."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Final, TypeVar

from service.core.pending import Pending

__all__ = ["connect", "outcome_of", "readable"]

T = TypeVar("T")

_UNDER_WAY: Final = (errno.EINPROGRESS, errno.EINTR)
"""Errors of a connect that goes on. EAGAIN is not one: nothing was begun, and nothing says when to try again."""


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


async def connect(connection: socket.socket, address: tuple[str, int] | tuple[str, int, int, int]) -> None:
    """Connect a socket to a numeric address; raises OSError.

    uvloop's ``sock_connect`` has a thread look the address up first. Where the first thread cannot be started
    (a limit of processes or of address space), libuv aborts the whole process.
    """
    error = connection.connect_ex(address)
    if error in _UNDER_WAY:
        loop = asyncio.get_running_loop()
        await _ready(connection, loop.add_writer, loop.remove_writer)
        error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


async def readable(connection: socket.socket | int) -> None:
    """Return when something has come on a socket or a pipe, or its other end has gone."""
    loop = asyncio.get_running_loop()
    await _ready(connection, loop.add_reader, loop.remove_reader)


async def _ready(
    connection: socket.socket | int, add: Callable[..., object], remove: Callable[[socket.socket | int], object]
) -> None:
    """Return when the loop first calls what ``add`` registered for a socket or a pipe; ``remove`` ends that."""
    ready = asyncio.get_running_loop().create_future()
    add(connection, _settle, ready)
    try:
        await ready
    finally:
        remove(connection)


def _settle(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)
