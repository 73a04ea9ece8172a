"""The encodings of the WHATWG Encoding Standard: Python's codecs, and what browsers do differently.

Only these names reach a codec. Python has others under the same roof, some of them with quadratic cost (idna,
punycode). tests/upstream/test_encodings.py compares every byte and pair of bytes with what Chromium makes of it.
"""

import codecs
import re
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final

from service.upstream.content.labels import LABELS

__all__ = ["decode", "decode_in_steps", "encoding_of"]

_BAD: Final = "\ufffd"

_SINGLE: Final = {
    "ibm866": "cp866", "iso-8859-8-i": "iso8859_8", "macintosh": "mac_roman", "windows-874": "cp874",
    "x-mac-cyrillic": "mac_cyrillic",
}  # fmt: skip
"""Encodings of one byte a character whose names Python does not know."""
_SINGLE_ONLY_THERE: Final = {
    "windows-1255": {0xCA: "\u05ba"},
    "koi8-u": {0xAE: "\u045e", 0xBE: "\u040e"},
    "x-user-defined": {byte: chr(0xF700 + byte) for byte in range(0x80, 0x100)},
}

_MULTI: Final = {
    "big5": "big5hkscs", "euc-jp": "euc_jp", "euc-kr": "cp949", "gb18030": "gb18030", "gbk": "gb18030",
    "iso-2022-jp": "iso2022_jp_ext", "shift_jis": "cp932",
}  # fmt: skip
_JIS: Final = ("\u301c\u2016\u2212\u00a2\u00a3\u00ac", "\uff5e\u2225\uff0d\uffe0\uffe1\uffe2")
_GB: Final = (
    "\ue5e5\ue78d\ue78e\ue78f\ue790\ue791\ue792\ue793\ue794\ue795\ue796\ue7c7\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864",
    "\u3000\ufe10\ufe12\ufe11\ufe13\ufe14\ufe15\ufe16\ufe17\ufe18\ufe19\u1e3f\u9fb4\u9fb5\u9fb6\u9fb7\u9fb8\u9fb9\u9fba\u9fbb",
)
_BIG5: Final = (
    "\u2022\uff64\u203e\u223c\u2641\u2609\u00a5\u00a2\u00a3",
    "\u2027\ufe51\u00af\uff5e\u2295\u2299\uffe5\uffe0\uffe1",
)
_ELSEWHERE: Final = {
    "big5": _BIG5, "euc-jp": _JIS, "iso-2022-jp": _JIS, "gb18030": _GB, "gbk": _GB,
    "shift_jis": ("\uf8f0\uf8f1\uf8f2\uf8f3", _BAD * 4),
}  # fmt: skip
"""Characters that Python reads where the standard has others: it has no code for these, so they can be replaced."""

_MOST_REPAIRS: Final = 1_500
"""Malformed sequences or escapes of one piece that are read as the standard says: 1 to 3 us each, so that the loop
waits for 4 ms. A piece with more of them is left to Python's own replacement: then a bad pair may or may not take
its second byte with it, and the characters of NEC and IBM in EUC-JP count as bad."""
_MOST_IN_A_STEP: Final = 800
_ESCAPE: Final = re.compile(rb"(\x1b(?:\([BJI]|\$[@B]))")
_UNFINISHED: Final = re.compile(rb"\x1b[($]?\Z")
_TO_KANA: Final = bytes(range(0x21)) + bytes(range(0xA1, 0xE0)) + b"\xff" * 0xA0
_TO_EUC: Final = bytes(range(0x21)) + bytes(range(0xA1, 0xFF)) + b"\x7f" + b"\xff" * 0x80


class _Repair(threading.local):
    """An error handler of one codec: which bytes are bad, and what comes after them.

    A bad lead byte takes its second byte with it unless that is ASCII: otherwise a wrong byte would shift all the
    pairs that follow it, or swallow the quotation mark or the ``<`` behind it.
    """

    def __init__(
        self, leads: bytes, known: Callable[[bytes], tuple[str, int] | None] | None = None, longer: bytes = b"(?!)"
    ) -> None:
        self._known = known
        self._leads = leads
        self._longer = re.compile(longer, re.DOTALL)
        self.calls = self.bad = 0
        self._most = _MOST_REPAIRS

    def begin(self, most: int) -> None:
        self.calls = self.bad = 0
        self._most = most

    def __call__(self, error: UnicodeError) -> tuple[str, int]:
        assert isinstance(error, UnicodeDecodeError)
        self.calls += 1
        if self.calls > self._most:
            raise error
        place = error.object[error.start : error.start + 4]
        found = self._known(place) if self._known else None
        if found is None:
            self.bad += 1
            found = _BAD, self._length(place)
        return found[0], error.start + found[1]

    def _length(self, place: bytes) -> int:
        if longer := self._longer.match(place):
            return longer.end()
        return 2 if place[0] in self._leads and len(place) > 1 and place[1] >= 0x80 else 1


def _euro(place: bytes) -> tuple[str, int] | None:
    return ("\u20ac", 1) if place[0] == 0x80 else None


def _windows_31j(place: bytes) -> tuple[str, int] | None:
    """Read a pair of EUC-JP as Shift_JIS: NEC's and IBM's characters, which Python has there alone."""
    if len(place) < 2 or not (0xA1 <= place[0] <= 0xFE and 0xA1 <= place[1] <= 0xFE):
        return None
    row, cell = place[0] - 0xA1, place[1] - 0xA1
    lead = row // 2 + (0x81 if row < 62 else 0xC1)
    trail = cell + 0x9F if row % 2 else cell + 0x40 + (cell >= 63)
    text = bytes((lead, trail)).decode("cp932", "replace")
    return (text, 2) if len(text) == 1 and text != _BAD and not "\ue000" <= text <= "\uf8ff" else None


def _span(*spans: tuple[int, int]) -> bytes:
    return b"".join(bytes(range(first, last + 1)) for first, last in spans)


_REPAIRS: Final = {
    "big5": _Repair(_span((0x81, 0xFE))),
    "euc-jp": _Repair(_span((0x8E, 0x8F), (0xA1, 0xFE)), _windows_31j, rb"\x8f[\xa1-\xfe][\x80-\xff]"),
    "euc-kr": _Repair(_span((0x81, 0xFE))),
    "gb18030": _Repair(_span((0x81, 0xFE)), _euro, rb"[\x81-\xfe][0-9](?:[\x81-\xfe](?:[0-9]|\Z)|\Z)"),
    "shift_jis": _Repair(_span((0x81, 0x9F), (0xE0, 0xFC))),
}
_REPAIRS["gbk"] = _REPAIRS["gb18030"]
for _name, _repair in _REPAIRS.items():
    codecs.register_error(f"sluice-{_name}", _repair)


def encoding_of(label: str | None) -> str | None:
    """Return the standard's name of an encoding, in lower case, by any of its labels; None for any other label."""
    return LABELS.get(label.strip("\t\n\f\r ").lower()) if label and len(label) <= 40 else None


def decode(body: bytes, encoding: str, *, cut: bool = False) -> tuple[str, bool]:
    """Return the text, with U+FFFD for each bad place, and whether there was none.

    A character that is cut in two at the end of a body that was ``cut`` is left out.
    """
    if (read := _UNICODE.get(encoding)) is not None:
        return _decode_unicode(body, read, final=not cut)[:2]
    if encoding == "iso-2022-jp":
        read_all = [*_decode_escapes(body, 0, len(body) or 1, cut)]
        return "".join(text for text, _ in read_all), all(exact for _, exact in read_all)
    if encoding in _MULTI:
        return _PairDecoder(encoding).decode(body, final=not cut)
    assert encoding != "replacement", "its text is refused"
    return _decode_single(body, encoding)


def decode_in_steps(body: bytes, encoding: str, *, start: int, step: int, cut: bool) -> Iterator[tuple[str, bool]]:
    """Yield what :func:`decode` returns of a body from ``start`` on, in pieces of ``step`` bytes.

    Malformed sequences are counted for each piece: a piece with more than 800 is read with Python's replacement.
    """
    if (read := _UNICODE.get(encoding)) is not None:
        while start < len(body):
            final = start + step >= len(body)
            text, exact, used = _decode_unicode(body[start : start + step], read, final=final and not cut)
            start = len(body) if final else start + used
            yield text, exact
    elif encoding == "iso-2022-jp":
        yield from _decode_escapes(body, start, step, cut)
    else:
        pairs = _PairDecoder(encoding, _MOST_IN_A_STEP) if encoding in _MULTI else None
        for begin in range(start, len(body), step):
            piece, final = body[begin : begin + step], begin + step >= len(body)
            yield pairs.decode(piece, final=final and not cut) if pairs else _decode_single(piece, encoding)


_UNICODE: Final[dict[str, Callable[[bytes, str, bool], tuple[str, int]]]] = {
    "utf-8": codecs.utf_8_decode,
    "utf-16le": codecs.utf_16_le_decode,
    "utf-16be": codecs.utf_16_be_decode,
    # Not of the standard: JSON alone may be in these.
    "utf-32le": codecs.utf_32_le_decode,
    "utf-32be": codecs.utf_32_be_decode,
}


def _decode_unicode(
    body: bytes, read: Callable[[bytes, str, bool], tuple[str, int]], *, final: bool
) -> tuple[str, bool, int]:
    try:
        text, used = read(body, "strict", final)
    except UnicodeDecodeError:
        text, used = read(body, "replace", final)
        return text, False, used
    return text, True, used


def _decode_single(body: bytes, encoding: str) -> tuple[str, bool]:
    text = codecs.charmap_decode(body, "replace", _table(encoding))[0]
    return text, _BAD not in text


@lru_cache(maxsize=64)
def _table(encoding: str) -> str:
    codec = _SINGLE.get(encoding, "latin-1" if encoding == "x-user-defined" else encoding)
    table = list(bytes(range(256)).decode(codec, "replace"))
    for byte in range(0x80, 0xA0):
        if table[byte] == _BAD:
            table[byte] = chr(byte)
    for byte, character in _SINGLE_ONLY_THERE.get(encoding, {}).items():
        table[byte] = character
    return "".join(table)


class _PairDecoder:
    """Reads an encoding of several bytes a character, in one piece or in several."""

    def __init__(self, encoding: str, most: int = _MOST_REPAIRS) -> None:
        self._encoding = encoding
        self._most = most
        self._codec = _MULTI[encoding]
        self._repair = _REPAIRS[encoding]
        make = codecs.getincrementaldecoder(self._codec)
        self._repairing = make(f"sluice-{encoding}")
        self._replacing = make("replace")

    def decode(self, piece: bytes, *, final: bool) -> tuple[str, bool]:
        """Return the text of the next piece, and whether nothing in it was bad.

        What is not whole at its end is kept for the next piece; behind the ``final`` one it is bad.
        """
        before = self._repairing.getstate()
        self._repair.begin(self._most)
        try:
            text, too_many = self._repairing.decode(piece), False
        except UnicodeDecodeError:
            self._replacing.setstate(before)
            text, too_many = self._replacing.decode(piece), True
            self._repairing.setstate(self._replacing.getstate())
        if final and (rest := self._repairing.getstate()[0]):
            # Python's own way to end would pass over what follows the first bad byte of the rest.
            self._repair.calls = 0
            text += rest.decode(self._codec, "replace" if too_many else f"sluice-{self._encoding}")
            self._repairing.reset()
        return _moved(text, not (too_many or self._repair.bad), self._encoding)


def _moved(text: str, exact: bool, encoding: str) -> tuple[str, bool]:
    for there, here in zip(*_ELSEWHERE.get(encoding, ("", "")), strict=True):
        if there in text:
            text = text.replace(there, here)
            exact = exact and here != _BAD
    return text, exact


class _EscapeDecoder:
    """Reads ISO-2022-JP from one escape sequence to the next, as browsers do, in one piece or in several."""

    def __init__(self) -> None:
        self._escape = b"\x1b(B"
        self._pairs, self._kana = _PairDecoder("euc-jp"), _PairDecoder("shift_jis")
        self._rest = b""

    def decode(self, piece: bytes, *, final: bool) -> tuple[str, bool]:
        """Return the text of the next piece, and whether nothing in it was bad."""
        data, self._rest = self._rest + piece, b""
        if not final and (unfinished := _UNFINISHED.search(data)):
            data, self._rest = data[: unfinished.start()], unfinished[0]
        parts = _ESCAPE.split(data)
        texts, exact = [], True
        for number in range(0, len(parts), 2):
            self._escape = parts[number - 1] if number else self._escape
            text, right = self._read(parts[number], final=final or number < len(parts) - 1)
            texts.append(text)
            exact = exact and right
        return _moved("".join(texts), exact, "iso-2022-jp")

    def _read(self, part: bytes, *, final: bool) -> tuple[str, bool]:
        if self._escape in (b"\x1b$@", b"\x1b$B"):
            return self._pairs.decode(part.translate(_TO_EUC), final=final)
        if self._escape == b"\x1b(I":
            return self._kana.decode(part.translate(_TO_KANA), final=True)
        text = part.decode("ascii", "replace")
        exact = _BAD not in text
        return text.translate({0x5C: "\u00a5", 0x7E: "\u203e"}) if self._escape == b"\x1b(J" else text, exact


def _decode_escapes(body: bytes, start: int, step: int, cut: bool) -> Iterator[tuple[str, bool]]:
    """Read ISO-2022-JP as Python does; where that fails, once more as browsers do."""
    pieces = [(body[at : at + step], at + step >= len(body) and not cut) for at in range(start, len(body), step)]
    make = codecs.getincrementaldecoder("iso2022_jp_ext")
    strict, texts = make(), []
    try:
        for piece, final in pieces:
            texts.append(strict.decode(piece, final))
            yield "", True
    except UnicodeError:  # also where what is not finished outgrows the decoder's buffer
        if body.count(b"\x1b") > _MOST_REPAIRS:
            replacing = make("replace")
            yield from (_moved(replacing.decode(piece), False, "iso-2022-jp") for piece, _ in pieces)
        else:
            escapes = _EscapeDecoder()
            yield from (escapes.decode(piece, final=final) for piece, final in pieces)
    else:
        yield from (_moved(text, True, "iso-2022-jp") for text in texts)
