"""How an answer is put into JSON: its body as text where it is text, as base64 where it is not."""

import base64
import re
from typing import Any, Final, Literal

from service.core.fetching.target import final_url
from service.upstream.attempt import Fetched, milliseconds
from service.upstream.content.charset import Text, read_text
from service.upstream.content.media_types import media_type

__all__ = ["encode_body", "result_event"]

# Not in any text: what the MIME Sniffing standard calls binary data bytes.
_BINARY: Final = re.compile(rb"[\0-\x08\x0b\x0e-\x1a\x1c-\x1f]")

_HEADERS_SIZE: Final = 16 << 10
"""Characters of names and values in an event."""


def encode_body(
    body: bytes,
    mode: Literal["auto", "text", "base64", "none"],
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
        if mode == "text" or _is_text(body, read, content_type):
            return read.encoding, read.text
    return "base64", base64.b64encode(body).decode()


def _is_text(body: bytes, read: Text, content_type: str | None) -> bool:
    """Decide as a browser would that shows a text, or offers a file."""
    if "\0" in read.text or read.encoding == "replacement":
        return False
    if read.exact and read.encoding.startswith("utf-"):
        return True
    kind = media_type(content_type)
    if read.declared and kind.text:
        return True
    return (kind.text or (read.exact and read.declared)) and not _BINARY.search(body)


def result_event(
    index: int,
    url: str,
    fetched: Fetched,
    mode: Literal["auto", "text", "base64", "none"],
    attempts: int,
    cache: str,
    queued: float,
) -> dict[str, Any]:
    """Return the event of a URL that was answered; ``queued`` is in seconds."""
    encoding, body = encode_body(fetched.body, mode, fetched.content_type, cut=fetched.truncated)
    headers = _shown(fetched.headers)
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
