"""Lines to a reader."""

import errno
import os
import threading

from service.commands.fetch.output import OutputWriter


def test_lines_come_in_order_and_nobody_waits_for_their_reader() -> None:
    read, write = os.pipe()
    output = OutputWriter(write)
    for number in range(100_000):
        output.put([b"%d\n" % number], 8)
    assert output.waiting
    got: list[bytes] = []
    with os.fdopen(read, "rb") as stream:
        reader = threading.Thread(target=lambda: got.append(stream.read()))
        reader.start()
        output.close()
        os.close(write)
        reader.join()
    assert got[0].split() == [b"%d" % number for number in range(100_000)]
    assert output.waiting == 0
    assert output.error is None


def test_many_pieces_need_not_be_in_memory_at_once() -> None:
    read, write = os.pipe()
    begun: list[int] = []

    def pieces():  # type: ignore[no-untyped-def]
        for number in range(1000):
            begun.append(number)
            yield b"x" * 10_000

    output = OutputWriter(write)
    output.put(pieces(), 10_000)
    os.read(read, 1)
    assert len(begun) < 100
    os.close(read)
    output.close()
    assert output.left
    os.close(write)


def test_a_reader_that_left_and_a_full_device_are_distinguished() -> None:
    read, write = os.pipe()
    os.close(read)
    output = OutputWriter(write)
    output.put([b"x"], 1)
    output.close()
    os.close(write)
    assert output.left
    full = os.open("/dev/full", os.O_WRONLY)
    output = OutputWriter(full)
    output.put([b"x"], 1)
    output.close()
    os.close(full)
    assert not output.left
    assert output.error is not None
    assert output.error.errno == errno.ENOSPC
    assert output.waiting == 0


def test_a_pipe_that_does_not_block_gets_all() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    output = OutputWriter(write)
    output.put([b"x" * 1_000_000], 1_000_000)
    got = 0
    while got < 1_000_000:
        got += len(os.read(read, 65_536))
    output.close()
    os.close(read)
    os.close(write)
    assert output.error is None


def test_an_error_while_encoding_ends_no_thread() -> None:
    def pieces():  # type: ignore[no-untyped-def]
        yield b"x"
        raise RuntimeError("bug")

    null = os.open(os.devnull, os.O_WRONLY)
    output = OutputWriter(null)
    output.put(pieces(), 1)
    output.close()
    os.close(null)
    assert "bug" in str(output.error)
    assert output.waiting == 0
