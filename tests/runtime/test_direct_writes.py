"""What the kernel takes at once is written, and all the rest comes back."""

import asyncio
import socket

from service.runtime.direct_writes import read_rest, write_now


def test_what_the_kernel_does_not_take_is_returned() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        assert write_now(ours.fileno(), b"whole") == b""
        assert theirs.recv(100) == b"whole"
        data = bytes(range(256)) * 40_000
        rest = write_now(ours.fileno(), data)
        assert 0 < len(rest) < len(data)
        assert write_now(ours.fileno(), b"more") == b"more", "it is full"
        theirs.setblocking(False)
        received = b""
        while len(received) < len(data) - len(rest):
            received += theirs.recv(1 << 20)
        assert received + rest == data


def test_a_broken_connection_takes_nothing() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        assert write_now(ours.fileno(), b"lost") == b"lost"


def test_what_the_kernel_has_of_a_broken_connection_is_read() -> None:
    ours, theirs = socket.socketpair()
    plain = asyncio.BaseTransport({"socket": ours})
    with ours:
        theirs.send(b"rest")
        theirs.close()
        assert write_now(ours.fileno(), b"lost") == b"lost"
        assert read_rest(asyncio.BaseTransport({"socket": ours, "sslcontext": object()}), 3) == b""
        assert read_rest(plain, 3) == b"res"
        assert read_rest(plain, 3) == b"t"
        assert read_rest(plain, 3) == b""
    assert read_rest(plain, 3) == b"", "it is closed"
