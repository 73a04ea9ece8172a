"""Content codings: one or several, whole or cut, honest or a bomb."""

import gzip
import sys
import zlib

import brotli
import pytest

from service.upstream.http1.codings import Decoding, codings_of, transfer_codings
from service.upstream.http1.errors import ProtocolError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TEXT = b"".join(b"line %d of a text that packs well\n" % number for number in range(5000))


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "br": brotli.compress(TEXT),
    "zstd": zstd.compress(TEXT),
}


def decode(codings: str, data: bytes, size: int = 1 << 20) -> bytes:
    decoding, made = Decoding(codings_of(codings)), []
    for at in range(0, len(data), size):
        assert decoding.hungry
        decoding.feed(data[at : at + size])
        while not decoding.hungry:
            made.append(decoding.step())
    decoding.finish()
    return b"".join(made)


@pytest.mark.parametrize("size", [1, 5, 1000, 1 << 20])
@pytest.mark.parametrize("coding", PACKED)
def test_each_coding_in_pieces_of_any_size(coding: str, size: int) -> None:
    assert decode(coding, PACKED[coding], size) == TEXT
    assert decode(coding.upper(), PACKED[coding], size) == TEXT


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_deflate_without_its_frame(size: int) -> None:
    assert decode("deflate", raw_deflate(TEXT), size) == TEXT
    assert decode("deflate", raw_deflate(b""), size) == b""


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_several_codings_are_taken_off_in_the_opposite_order(size: int) -> None:
    assert decode("gzip, gzip", gzip.compress(PACKED["gzip"]), size) == TEXT
    assert decode("br, identity, gzip", gzip.compress(PACKED["br"]), size) == TEXT
    five = TEXT
    for _ in range(5):
        five = zlib.compress(five)
    assert decode("deflate,deflate ,\tdeflate, deflate,deflate", five, size) == TEXT


def test_more_codings_than_five_are_refused() -> None:
    with pytest.raises(ProtocolError, match="more than 5 content codings"):
        codings_of("gzip, " * 6)


@pytest.mark.parametrize(
    "value", ["utf-8", "none", "gzip, foo", "foo, gzip", "compress", "aws-chunked", "gzip;q=1"]
)
def test_an_unknown_coding_leaves_the_body_as_it_is(value: str) -> None:
    assert codings_of(value) == ()


def test_nothing_and_identity_are_not_codings() -> None:
    assert codings_of(None) == codings_of("") == codings_of("identity") == codings_of(" , ") == ()


def test_a_transfer_coding_that_is_not_known_is_refused() -> None:
    assert transfer_codings(("gzip",)) == ("gzip",)
    with pytest.raises(ProtocolError, match="'x-foo' is not supported"):
        transfer_codings(("gzip", "x-foo"))


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
@pytest.mark.parametrize("coding", PACKED)
@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_stream_that_is_cut_is_refused_by_its_name(coding: str, share: float, size: int) -> None:
    data = PACKED[coding]
    with pytest.raises(ProtocolError, match=rf"cut off within its content coding {coding}$"):
        decode(coding, data[: max(1, int(len(data) * share))], size)


def test_the_coding_that_is_cut_is_the_one_that_is_named() -> None:
    with pytest.raises(ProtocolError, match="cut off within its content coding br$"):
        decode("br, gzip", gzip.compress(PACKED["br"][:-3]))


@pytest.mark.parametrize("coding", PACKED)
def test_no_bytes_at_all_are_an_empty_body(coding: str) -> None:
    assert decode(coding, b"") == b""


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize("coding", PACKED)
def test_what_is_not_in_the_coding_is_refused_by_its_name(coding: str, size: int) -> None:
    with pytest.raises(ProtocolError, match=f"not in the content coding {coding} as it says"):
        decode(coding, b"<!doctype html><p>hello, this is plain text</p>", size)


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
def test_zeros_after_gzip_are_passed_over_and_members_are_joined(size: int) -> None:
    assert decode("gzip", PACKED["gzip"] + bytes(5000), size) == TEXT
    assert decode("gzip", PACKED["gzip"] * 3, size) == TEXT * 3
    assert decode("gzip", PACKED["gzip"] + bytes(7) + gzip.compress(b"more") + bytes(7), size) == TEXT + b"more"
    assert decode("zstd", PACKED["zstd"] * 3, size) == TEXT * 3


@pytest.mark.parametrize("size", [1, 1000, 1 << 20])
@pytest.mark.parametrize("coding", PACKED)
def test_other_bytes_after_the_end_are_refused_as_curl_does(coding: str, size: int) -> None:
    with pytest.raises(ProtocolError, match=f"not in the content coding {coding} as it says"):
        decode(coding, PACKED[coding] + b"garbage after the end", size)


def test_a_damaged_checksum_is_refused() -> None:
    damaged = PACKED["gzip"][:-8] + bytes(8)
    with pytest.raises(ProtocolError, match="incorrect data check"):
        decode("gzip", damaged)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_more_members_than_a_thousand_are_refused(coding: str) -> None:
    member = gzip.compress(b"") if coding == "gzip" else zstd.compress(b"")
    assert decode(coding, member * 1000) == b""
    with pytest.raises(ProtocolError, match="more than 1,000 members"):
        decode(coding, member * 50_000)


def test_a_window_that_is_too_large_for_the_web_is_refused() -> None:
    options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.enable_long_distance_matching: 1}
    packer = zstd.ZstdCompressor(options=options)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError, match="zstd"):
        decode("zstd", packer.compress(TEXT) + packer.flush())


@pytest.mark.parametrize("coding", PACKED)
def test_no_step_makes_much_more_than_64_kib(coding: str) -> None:
    zeros = bytes(32 << 20)
    packed = {"br": brotli.compress, "zstd": zstd.compress, "deflate": zlib.compress}.get(coding, gzip.compress)(
        zeros
    )
    decoding, total = Decoding(codings_of(f"{coding}, gzip")), 0
    decoding.feed(gzip.compress(packed))
    while not decoding.hungry:
        made = decoding.step()
        assert len(made) <= 128 << 10
        total += len(made)
    assert total == len(zeros)
