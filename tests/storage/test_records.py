"""Records: a flipped bit is found and put right, wherever it is; where more is wrong, nothing is made up."""

import pytest

from service.storage.records import mend, read_document, read_message, write_document, write_filler, write_message

ROW = 77
RECORD = write_message(ROW, 3, 9, 1.5, b'{"text":"sluice"}')


@pytest.mark.parametrize("bit", range(0, 8 * len(RECORD), 3))
def test_one_bit_of_a_record_is_put_right(bit: int) -> None:
    damaged = bytearray(RECORD)
    damaged[bit // 8] ^= 1 << bit % 8
    assert mend(ROW, bytes(damaged)) == (ROW, RECORD)


@pytest.mark.parametrize("bit", [0, 7, 31, 62])
def test_one_bit_of_a_row_number_is_put_right(bit: int) -> None:
    mended = mend(ROW ^ 1 << bit, RECORD)
    assert mended is not None
    assert mended.row == ROW
    assert read_message(*mended).data == b'{"text":"sluice"}'


@pytest.mark.parametrize("bits", [(0, 1), (5, 300), (40, 41), (100, 260)])
def test_two_bits_are_not(bits: tuple[int, int]) -> None:
    damaged = bytearray(RECORD)
    for bit in bits:
        damaged[bit // 8] ^= 1 << bit % 8
    assert mend(ROW, bytes(damaged)) is None


def test_a_record_that_is_cut_short_is_not() -> None:
    for record in (b"", RECORD[:3], RECORD[:4], RECORD[:-1]):
        assert mend(ROW, record) is None


@pytest.mark.parametrize("size", [200, 255, 256, 257, 3000, 1 << 20])
def test_one_bit_of_a_long_record_is_put_right(size: int) -> None:
    long = write_message(ROW, 3, 9, 1.5, b"x" * size)
    last = 8 * len(long) - 1
    for bit in {32, 33, 400, last // 2, *range(last - 2050, last - 2045), last - 1, last}:
        damaged = bytearray(long)
        damaged[bit // 8] ^= 1 << bit % 8
        assert mend(ROW, bytes(damaged)) == (ROW, long)


def test_a_whole_record_that_is_not_a_document_is_not() -> None:
    assert mend(ROW, RECORD) is None


def test_a_document_is_put_right_too() -> None:
    damaged = bytearray(write_document(5, {"name": "a"}))
    damaged[8] ^= 64
    mended = mend(5, bytes(damaged))
    assert mended is not None
    assert read_document(*mended) == {"name": "a"}


def test_a_filler_is_a_document() -> None:
    assert len(write_filler(2, 1000)) >= 1000
    assert list(read_document(2, write_filler(2, 10))) == ["filler"]
