"""Connecting without a thread: what succeeds, what is refused, and what is given up."""

import asyncio
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import uvloop

from service.runtime.awaiting import connect


def threads() -> int:
    """Return how many this process has: those of libuv are not Python's."""
    return len(list(Path("/proc/self/task").iterdir()))


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_it_connects_without_a_thread(run: Any, family: int, host: str) -> None:
    async def main() -> tuple[int, bytes]:
        with socket.socket(family) as listener, socket.socket(family) as client:
            try:
                listener.bind((host, 0))
            except OSError as error:
                pytest.skip(f"{host} is not an address of this machine: {error.strerror}")
            listener.listen()
            client.setblocking(False)
            before = threads()
            await connect(client, listener.getsockname())
            more = threads() - before
            accepted, _ = listener.accept()
            with accepted:
                accepted.send(b"x")
                return more, await asyncio.get_running_loop().sock_recv(client, 1)

    assert run(main()) == (0, b"x")


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_is_refused_raises_what_the_kernel_says(run: Any) -> None:
    async def main() -> None:
        with socket.socket() as bound, socket.socket() as client:
            bound.bind(("127.0.0.1", 0))
            client.setblocking(False)
            await connect(client, bound.getsockname())

    with pytest.raises(ConnectionRefusedError):
        run(main())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_one_that_is_given_up_leaves_nothing_behind(run: Any) -> None:
    """A queue that is full answers nobody: the kernel drops what comes."""

    async def main() -> None:
        with socket.socket() as listener, socket.socket() as first, socket.socket() as client:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            first.connect(listener.getsockname())
            client.setblocking(False)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await connect(client, listener.getsockname())
            assert not asyncio.get_running_loop().remove_writer(client)

    run(main())


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_one_that_was_not_begun_raises_too(run: Any, tmp_path: Path) -> None:
    """A Unix socket does not wait for room in the queue, though it counts as writable."""

    async def main() -> None:
        path: Any = str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX) as listener, ExitStack() as stack:
            listener.bind(path)
            listener.listen(0)
            first, second = (stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(2))
            for client in (first, second):
                client.setblocking(False)
            await connect(first, path)
            with pytest.raises(BlockingIOError):
                await connect(second, path)

    run(main())
