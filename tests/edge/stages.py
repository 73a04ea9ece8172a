"""Functions for pipelines of the tests."""

import asyncio
import os
import threading
from typing import Any

from service.work.pipelines.item import ItemFailed, Output

release = threading.Event()


def double(data: bytes) -> bytes:
    return data * 2


def facts(data: bytes) -> Output:
    if data == b"bad":
        raise ItemFailed("not this one")
    if data == b"bug":
        raise KeyError("secret")
    return Output(data.upper(), {"faces": len(data)})


async def slowly(data: bytes) -> bytes:
    await asyncio.sleep(1)
    return data


async def never(data: bytes) -> bytes:
    await asyncio.Event().wait()
    return data


def enlarge(data: bytes) -> bytes:
    return data * 1000


def split(data: bytes) -> list[bytes]:
    """A value that only another process can take."""
    if data == b"die":
        os._exit(1)
    return [data, b"and"]


def join(parts: Any) -> bytes:
    return b" ".join(parts)


def hold(data: bytes) -> bytes:
    release.wait(30)
    return data


NOTHING = 1
