"""Large bodies become events in steps: the outcome of them is the outcome of them at once, and no step is long."""

import random
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from service.core.fetching.outcome import Fetched
from service.upstream.content import result_events
from service.upstream.content.encodings import decode, decode_in_steps
from service.upstream.content.labels import LABELS
from service.upstream.content.result_events import encode_body, encode_in_steps

TEXT = 'plain, gr\u00fc\u00df, \u65e5\u672c\u8a9e, \ud55c\uad6d, \u043f\u0440\u0438\u0432\u0435\u0442 "\\\n'
CODECS = {
    "big5": "big5hkscs", "euc-jp": "euc_jp", "euc-kr": "cp949", "gb18030": "gb18030", "gbk": "gb18030",
    "iso-2022-jp": "iso2022_jp", "shift_jis": "cp932", "utf-8": "utf-8", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be",
}  # fmt: skip
ENCODINGS = sorted(set(LABELS.values()) - {"replacement"})
EVERY = [*ENCODINGS, "utf-32le", "utf-32be"]


def in_steps(
    body: bytes, mode: Any, content_type: str | None, *, cut: bool = False
) -> tuple[str | None, str | None]:
    headers = {"content-type": content_type} if content_type else {}
    target: Any = SimpleNamespace()
    fetched = Fetched(200, target, headers, body, truncated=cut)
    for _ in encode_in_steps(fetched, mode):
        pass
    assert fetched.encoded is not None
    encoding, encoded = fetched.encoded[mode]
    return encoding, None if encoded is None else orjson.loads(bytes(encoded))


def sample(encoding: str, chance: random.Random) -> bytes:
    parts = []
    for _ in range(chance.randint(0, 9)):
        kind = chance.random()
        if kind < 0.3:
            parts.append(chance.randbytes(chance.randint(0, 5)))
        elif kind < 0.5:
            parts.append(
                chance.choice([b"\x1b$B", b"\x1b(B", b"\x1b(J", b"\x1b(I", b"\x1b", b"\x1b$", b"\x81\x30", b"<p>"])
            )
        else:
            codec = CODECS.get(encoding, "utf-32-le" if encoding == "utf-32le" else "latin-1")
            parts.append(TEXT.encode(codec, "ignore"))
    return b"".join(parts)


@pytest.mark.parametrize("encoding", EVERY)
def test_what_is_read_in_pieces_is_what_is_read_at_once(encoding: str) -> None:
    chance = random.Random(encoding)
    for _ in range(400):
        body, cut, step = sample(encoding, chance), chance.random() < 0.3, chance.choice([8, 11, 16, 29])
        pieces = [*decode_in_steps(body, encoding, start=0, step=step, cut=cut)]
        found = "".join(text for text, _ in pieces), all(exact for _, exact in pieces)
        assert found == decode(body, encoding, cut=cut), (body, cut, step)


@pytest.mark.parametrize("encoding", EVERY)
def test_bytes_at_random_are_read_in_pieces_as_at_once(encoding: str) -> None:
    chance = random.Random(encoding)
    for size in (1, 2, 3, 7, 40, 1000):
        body = chance.randbytes(size)
        pieces = [*decode_in_steps(body, encoding, start=0, step=16, cut=False)]
        assert "".join(text for text, _ in pieces) == decode(body, encoding)[0]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (TEXT.encode() * 500, None),
        (TEXT.encode() * 500, "text/html"),
        (b"\xef\xbb\xbf" + TEXT.encode() * 500, "text/plain; charset=shift_jis"),
        ("caf\u00e9 ".encode("latin-1") * 5000, "text/html"),
        ("caf\u00e9 ".encode("latin-1") * 5000, "application/json; charset=iso-8859-1"),
        (("caf\u00e9 " * 500 + "\u65e5" * 2000).encode() + b"\xff", "text/html"),
        (TEXT.encode("utf-16-le") * 500, "text/plain; charset=utf-16"),
        (b"text " * 5000 + b"\0", "text/plain"),
        (b"text " * 5000 + rb"\u0000", "text/plain"),
        (b"\0" + b"caf\xe9 " * 5000, "text/plain"),
        (b"text " * 5000 + b"\x01", "text/plain; charset=windows-1252"),
        (b"text " * 5000 + b"\x01\xff", "text/plain"),
        (random.Random(1).randbytes(20_000), "image/png"),
        (random.Random(1).randbytes(20_000), "text/plain"),
        (b"x" * 20_000, "text/plain; charset=iso-2022-kr"),
        (b'{"a": "' + b"b" * 20_000 + b'"}', "application/json"),
        (b"<?xml version='1.0' encoding='windows-1251'?>" + "\u0434\u0430".encode("cp1251") * 9000, "text/xml"),
        (b"", "text/plain"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["auto", "text", "base64", "none"])
def test_an_event_is_the_same_in_steps(
    monkeypatch: pytest.MonkeyPatch, body: bytes, content_type: str | None, mode: Any
) -> None:
    monkeypatch.setattr(result_events, "_STEP", 99)
    for cut in (False, True):
        at_once = encode_body(body[: len(body) - cut], mode, content_type, cut=cut)
        assert in_steps(body[: len(body) - cut], mode, content_type, cut=cut) == at_once


def test_a_body_in_another_encoding_than_utf_8_after_all_is_read_again_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(result_events, "_STEP", 99)
    body = b"beginning " + b"\xe9\xe8 " * 3000 + b"end"
    assert in_steps(body, "auto", "text/plain")[0] == "windows-1252"
    encoded = in_steps(body, "auto", "text/plain")[1]
    assert encoded is not None
    assert encoded.count("beginning") == 1
    assert encoded.startswith("beginning \u00e9\u00e8 ")


def test_there_are_as_many_steps_as_a_body_has_pieces() -> None:
    target: Any = SimpleNamespace()
    body = ("\u65e5\u672c" * 1000).encode("cp932") * 2500
    fetched = Fetched(200, target, {"content-type": "text/plain; charset=shift_jis"}, body, truncated=False)
    steps = sum(1 for _ in encode_in_steps(fetched, "auto"))
    assert steps >= len(body) // (24 << 10)
    # What is there already is not made again.
    assert sum(1 for _ in encode_in_steps(fetched, "auto")) == 0
