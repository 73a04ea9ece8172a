"""Bodies of other people: any bytes have a text, and a selection finds something or says why not."""

import base64
import json
from typing import Any

import msgspec
import orjson

from service.upstream.content.charset import DecodedText, read_in_steps, read_text
from service.upstream.content.labels import ENCODINGS
from service.upstream.content.result_events import encode_body
from service.upstream.content.select_failed import SelectFailed
from service.upstream.content.selection import select_from

__all__ = ["documents"]

_TYPES = (
    None, "text/html", "text/html; charset=utf-8", "application/rss+xml", "application/json", "image/png",
    "text/plain; charset=shift_jis", "text/xml; charset=gb18030", "text/html; charset=euc-jp",
    "text/plain; charset=iso-2022-jp", "text/html; charset=big5", "application/xml; charset=utf-16",
    "application/json; charset=latin1", "text/plain; charset=iso-2022-kr",
)  # fmt: skip
_SELECTS = ("p", "item > title", "*", "a|b", "script, pre", "/", "/a", "/0", "/a/0/b", "/a~1b")
_NAMES = ENCODINGS | {"utf-32le", "utf-32be"}


def documents(data: bytes) -> None:
    """The first byte chooses the Content-Type, the second the selection; the rest is the body, whole and cut."""
    if len(data) < 2:
        return
    content_type, select, body = _TYPES[data[0] % len(_TYPES)], _SELECTS[data[1] % len(_SELECTS)], data[2:]
    for cut in (False, True):
        _look_at_text(body, content_type, cut=cut)
        try:
            found = select_from(body, select, content_type, cut=cut)
        except SelectFailed:
            continue
        found.decode()
        if select.startswith("/"):
            assert not cut
            _look_at_value(body, content_type, select, found)


def _look_at_text(body: bytes, content_type: str | None, *, cut: bool) -> None:
    read = read_text(body, content_type, cut=cut)
    assert read.encoding in _NAMES
    read.text.encode()
    assert len(read.text) <= len(body) + 1
    if len(body) <= 800:  # of more bad places than that it makes less of an effort
        assert _in_steps(body, content_type, cut=cut) == read
    for mode in ("auto", "text"):
        encoding, text = encode_body(body, mode, content_type, cut=cut)
        assert text is not None
        assert orjson.loads(orjson.dumps(text)) == text
        if encoding == "base64":
            assert mode == "auto"
            assert base64.b64decode(text) == body


def _in_steps(body: bytes, content_type: str | None, *, cut: bool) -> DecodedText:
    pieces: list[str] = []
    steps = read_in_steps(
        body, content_type, lambda text: pieces.append(text) if text else pieces.clear(), step=16, cut=cut
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            read: DecodedText = end.value
            return msgspec.structs.replace(read, text="".join(pieces))


def _look_at_value(body: bytes, content_type: str | None, pointer: str, found: bytes) -> None:
    """The value is the one that the standard library finds, and its spelling is unchanged."""
    numbers: dict[str, Any] = {"parse_int": str, "parse_float": str}
    value = json.loads(read_text(body, content_type, syntax="json").text, **numbers)
    for part in pointer.split("/")[1:]:
        is_index = isinstance(value, list) and part.isdecimal()
        value = value[int(part) if is_index else part.replace("~1", "/")]
    assert json.loads(found, **numbers) == value
