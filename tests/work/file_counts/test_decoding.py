"""What is in a file of each format, however its bytes arrive; and what is wrong with one."""

import bz2
import gzip
import io
import lzma
import random
import zipfile
import zlib
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.work.file_counts.decoding import PIECE, Unreadable, compressed, decoded
from tests.work.file_counts.frames import SKIPPABLE, zstd_frame

TEXT = b"".join(b"%d line %d\n" % (number % 97, number) for number in range(50_000))
"""Larger than a piece."""
SIZE = 16 << 10
NOISE = random.Random(1).randbytes(PIECE + 7)


def read(data: bytes, size: int = 1 << 16) -> bytes:
    source = io.BytesIO(data)
    return b"".join(decoded(lambda: source.read(size)))


@pytest.mark.parametrize("size", [1, 5, 4096, 1 << 20])
@pytest.mark.parametrize("pack", [gzip.compress, zstd_frame], ids=["gzip", "zstd"])
def test_members_are_read_one_after_the_other(pack: Callable[[bytes], bytes], size: int) -> None:
    parts = [b"a\n", b"", b"b\nc", b"d\n" * 50, b""]
    data = b"".join(map(pack, parts))
    assert compressed(data)
    assert read(data, size) == b"".join(parts)


@pytest.mark.parametrize("pack", [gzip.compress, zstd_frame], ids=["gzip", "zstd"])
@pytest.mark.parametrize(
    "text", [TEXT, NOISE, bytes(10 * PIECE), bytes(PIECE)], ids=["text", "noise", "bomb", "piece"]
)
def test_more_than_a_piece_is_made_in_pieces(pack: Callable[[bytes], bytes], text: bytes) -> None:
    source = io.BytesIO(pack(text) + pack(b"end"))
    pieces = list(decoded(lambda: source.read(PIECE)))
    assert b"".join(pieces) == text + b"end"
    assert max(map(len, pieces)) <= PIECE


@pytest.mark.parametrize("pack", [gzip.compress, zstd_frame], ids=["gzip", "zstd"])
def test_thousands_of_small_members_are_read(pack: Callable[[bytes], bytes]) -> None:
    assert read(pack(b"one line of a log\n") * 5000, PIECE) == b"one line of a log\n" * 5000


def test_zeros_may_follow_and_frames_may_be_skipped() -> None:
    assert read(gzip.compress(b"a") + bytes(5) + gzip.compress(b"b") + bytes(1000), 7) == b"ab"
    assert read(SKIPPABLE + zstd_frame(b"a") + SKIPPABLE + zstd_frame(b"b") + SKIPPABLE) == b"ab"
    assert compressed(SKIPPABLE)


@pytest.mark.parametrize("pack", [gzip.compress, zstd_frame], ids=["gzip", "zstd"])
def test_damage_is_reported_after_what_came_before(pack: Callable[[bytes], bytes]) -> None:
    whole = pack(TEXT)
    for data, says in [
        (whole[: len(whole) // 2], "is cut off: the end of its compressed data is missing"),
        (whole[:-1], "is cut off"),
        (whole + whole[:9], "is cut off"),
        (whole + b"\r\n", "has something after its compressed data that is not compressed"),
        (whole + b"\0\0 lines\n", "has something after"),
        (whole[: 2 * SIZE] + NOISE[:3000] + whole[2 * SIZE + 3000 :], "is damaged: "),
    ]:
        pieces: list[bytes] = []
        with pytest.raises(Unreadable, match="^" + says):
            pieces.extend(decoded(partial(io.BytesIO(data).read, SIZE)))
        assert b"".join(pieces)[:100] == TEXT[:100]


def test_the_checksum_is_checked() -> None:
    data = bytearray(gzip.compress(TEXT))
    data[-5] ^= 1
    with pytest.raises(Unreadable, match=r"^is damaged: incorrect (data|length) check$"):
        read(bytes(data))


def test_what_cannot_be_counted_is_named() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a", "b")
    for data, program in [
        (bz2.compress(TEXT), "bzcat"), (lzma.compress(TEXT), "xzcat"), (archive.getvalue(), "unzip -p"),
        ("a\n".encode("utf-16"), "iconv"), (b"\xfe\xff\0a\0\n", "iconv"), (b"\x04\x22\x4d\x18" + NOISE, "lz4cat"),
    ]:  # fmt: skip
        assert compressed(data)
        with pytest.raises(Unreadable, match=program + " .*sluice count -"):
            read(data)


@pytest.mark.parametrize("pack", [gzip.compress, zstd_frame], ids=["gzip", "zstd"])
def test_what_is_inside_is_looked_at_as_a_plain_file_is(pack: Callable[[bytes], bytes]) -> None:
    assert read(pack(b"\xef\xbb\xbfa\n")) == b"a\n"
    assert read(pack(b"\xef\xbb") + pack(b"\xbfa\n") + pack(b"\xef\xbb\xbf")) == b"a\n\xef\xbb\xbf"
    for data, name in [("a\n".encode("utf-16"), "UTF-16"), (bz2.compress(b""), "compressed with bzip2"),
                       (gzip.compress(b"a\n"), "compressed twice")]:  # fmt: skip
        with pytest.raises(Unreadable, match=f"^is {name} inside of its compression, which cannot be counted$"):
            read(pack(data))


@given(st.binary(max_size=20), st.integers(1, 7))
def test_plain_bytes_are_what_they_are(data: bytes, size: int) -> None:
    if not compressed(data):
        assert read(data, size) == data.removeprefix(b"\xef\xbb\xbf")


def test_a_window_that_takes_too_much_memory_is_refused() -> None:
    # A frame that says it needs 2 GiB: no content size, a window descriptor of 2^31.
    with pytest.raises(Unreadable, match="^is damaged: .*memory"):
        read(b"\x28\xb5\x2f\xfd\x00" + bytes([(31 - 10) << 3]) + b"\x01\x00\x00")


def test_zlib_alone_is_taken_for_lines() -> None:
    assert not compressed(zlib.compress(b"a"))
