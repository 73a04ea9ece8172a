"""How an answer is put into JSON: its body as text where it is text, as base64 where it is not."""

import base64
from collections.abc import Generator, Sequence
from typing import Any, Final

import orjson

from service.core.fetching.outcome import Fetched
from service.core.fetching.request import BodyMode as Mode
from service.core.fetching.target import final_url
from service.core.pieces import Pieces
from service.upstream.attempts import milliseconds
from service.upstream.content.charset import DecodedText, read_in_steps, read_text
from service.upstream.content.encodings import decode_in_steps
from service.upstream.content.media_types import media_type

__all__ = ["LARGE", "encode_body", "encode_in_steps", "encoded_body", "result_event"]

_BINARY: Final = bytes(byte for byte in range(0x20) if byte not in b"\t\n\f\r\x1b")
"""Not in any text: what the MIME Sniffing standard calls binary data bytes."""

LARGE: Final = 64 << 10
"""Bytes of a body beyond which it is encoded in steps: a smaller one takes at most 5 ms, or 0.2 ms if none of it is
malformed."""
_STEP: Final = 24 << 10
"""Bytes of a step; they are a multiple of three, for base64."""
_HEADERS_SIZE: Final = 16 << 10
"""Characters of names and values in an event."""


def encode_body(
    body: bytes,
    mode: Mode,
    content_type: str | None,
    *,
    cut: bool = False,
) -> tuple[str | None, str | None]:
    """Return (``encoding``, ``body``) of a result event: the charset used, or ``base64``, or nothing.

    ``cut`` says that the body is the beginning of a longer one, so that its last character may be half there.
    """
    if mode == "none":
        return None, None
    if mode != "base64":
        read = read_text(body, content_type, cut=cut)
        if mode == "text" and read.encoding == "replacement":
            return "utf-8", body.decode("utf-8", "replace")
        shown = mode == "text" or _is_text(read, content_type)
        if shown or (shown is None and not _has_binary(body)):
            return read.encoding, read.text
    return "base64", base64.b64encode(body).decode()


def encoded_body(fetched: Fetched, mode: Mode) -> tuple[str | None, str | Pieces | None]:
    """Return what :func:`encode_in_steps` has made of a body, or do as :func:`encode_body`."""
    if fetched.encoded and mode in fetched.encoded:
        return fetched.encoded[mode]
    return encode_body(fetched.body, mode, fetched.content_type, cut=fetched.truncated)


def encode_in_steps(fetched: Fetched, mode: Mode) -> Generator[None, None, None]:
    """Do as :func:`encode_body`, a few ms at a time; the outcome of it is in ``fetched.encoded``."""
    if fetched.encoded and mode in fetched.encoded:
        return
    pieces: list[bytes] = []
    encoding = (yield from _text_in_steps(fetched, mode, pieces)) if mode in ("auto", "text") else None
    if encoding is None and mode != "none":
        encoding = "base64"
        pieces.clear()
        for at in range(0, len(fetched.body), _STEP):
            pieces.append(base64.b64encode(fetched.body[at : at + _STEP]))
            yield
    encoded = Pieces(b'"', *pieces, b'"') if encoding else None
    fetched.encoded = {**(fetched.encoded or {}), mode: (encoding, encoded)}


def _text_in_steps(fetched: Fetched, mode: Mode, pieces: list[bytes]) -> Generator[None, None, str | None]:
    """Put a body into pieces of JSON, and return its encoding; None where it is not a text."""
    body, content_type = fetched.body, fetched.content_type
    nuls: list[bool] = []

    def add(text: str) -> None:
        if text:
            pieces.append(orjson.dumps(text)[1:-1])
            nuls.append("\0" in text)
        else:
            pieces.clear()
            nuls.clear()

    read = yield from read_in_steps(body, content_type, add, step=_STEP, cut=fetched.truncated)
    if mode == "text" and read.encoding == "replacement":
        pieces.clear()
        for text, _ in decode_in_steps(body, "utf-8", start=0, step=_STEP, cut=False):
            add(text)
            yield
        return "utf-8"
    if mode == "text":
        return read.encoding
    shown = False if any(nuls) else _is_text(read, content_type)
    if shown is None:
        shown = not (yield from _binary_in_steps(body))
    return read.encoding if shown else None


def _is_text(read: DecodedText, content_type: str | None) -> bool | None:
    """Decide as a browser would that shows a text, or offers a file; None where it looks for binary bytes."""
    if "\0" in read.text or read.encoding == "replacement":
        return False
    if read.exact and read.encoding.startswith("utf-"):
        return True
    kind = media_type(content_type)
    if read.declared and kind.text:
        return True
    return None if kind.text or (read.exact and read.declared) else False


def _binary_in_steps(body: bytes) -> Generator[None, None, bool]:
    for at in range(0, len(body), LARGE):
        if _has_binary(body[at : at + LARGE]):
            return True
        yield
    return False


def _has_binary(body: bytes) -> bool:
    """Return whether there are binary bytes; six times as fast as a regular expression."""
    return len(body.translate(None, _BINARY)) < len(body)


def result_event(
    index: int,
    url: str,
    fetched: Fetched,
    mode: Mode,
    attempts: int,
    cache: str,
    queued: float,
    steps: Sequence[bytes] | None = None,
) -> dict[str, Any]:
    """Return the event of a URL that was answered; ``queued`` is in seconds, the results of ``steps`` are JSON.

    Where the body was encoded in steps, ``pieces.encode_event`` encodes the event.
    """
    encoding, body = encoded_body(fetched, mode)
    small = fetched.head_size is not None and fetched.head_size <= _HEADERS_SIZE
    headers = fetched.headers if small else _shown(fetched.headers)
    event = {
        "event": "result",
        "index": index,
        "url": url,
        "final_url": final_url(fetched.target, url),
        "status": fetched.status,
        "headers": headers,
        "bytes": len(fetched.body),
        "truncated": fetched.truncated,
        "encoding": encoding,
        "body": body,
        "attempts": attempts,
        "cache": cache,
        "timing": {"queued": milliseconds(queued), **fetched.timing},
    }
    if len(headers) < len(fetched.headers):
        event["headers_truncated"] = True
    if steps is not None:
        event["steps"] = [orjson.Fragment(one) for one in steps]
        if mode == "none":
            del event["encoding"], event["body"]
    return event


def _shown(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers that an event has room for: those that do not fit any more are left out."""
    if len("".join(headers)) + len("".join(headers.values())) <= _HEADERS_SIZE:
        return headers
    shown, room = {}, _HEADERS_SIZE
    for name, value in headers.items():
        size = len(name) + len(value)
        if size <= room:
            shown[name] = value
            room -= size
    return shown
