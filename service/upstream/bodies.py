"""How an answer is put into JSON: its body as text where it is text, as base64 where it is not."""

import base64
import re
from typing import Any, Literal

from service.core.target import final_url
from service.upstream.orders import Fetched, milliseconds

__all__ = ["encode_body", "result_event"]

# Names from headers choose a codec: only those that are plain tables or Unicode forms. Python has others
# under the same roof, some with quadratic cost (idna, punycode).
_CODECS = re.compile(
    r"(?:us-)?ascii|utf-?8|utf-?16(?:[lb]e)?|(?:iso-?8859|windows|cp)-?\d{1,4}|latin-?1|koi8-[ru]|gbk|gb2312|gb18030"
    r"|big5|shift[_-]jis|euc-(?:jp|kr)|iso-2022-jp|macintosh",
    re.IGNORECASE | re.ASCII,
)


def encode_body(
    body: bytes, mode: Literal["auto", "text", "base64", "none"], charset: str | None
) -> tuple[str | None, str | None]:
    """Return (``encoding``, ``body``) of a result event: the charset used, or ``base64``, or nothing."""
    if mode == "none":
        return None, None
    if mode == "base64":
        return "base64", base64.b64encode(body).decode()
    codec = charset.lower() if charset and _CODECS.fullmatch(charset) else "utf-8"
    try:
        text = body.decode(codec)
    except (UnicodeError, LookupError):
        if mode == "text":
            return "utf-8", body.decode("utf-8", "replace")
        return "base64", base64.b64encode(body).decode()
    if mode == "auto" and "\x00" in text:
        return "base64", base64.b64encode(body).decode()
    # orjson writes no lone surrogates, and utf-16 can carry them.
    return codec, text if codec == "utf-8" else text.encode("utf-8", "replace").decode()


def result_event(
    index: int,
    url: str,
    fetched: Fetched,
    mode: Literal["auto", "text", "base64", "none"],
    attempts: int,
    cache: str,
    queued: float,
) -> dict[str, Any]:
    """Return what is told of a URL that was answered; ``queued`` is in seconds."""
    encoding, body = encode_body(fetched.body, mode, fetched.charset)
    return {
        "event": "result",
        "index": index,
        "url": url,
        "final_url": final_url(fetched.target, url),
        "status": fetched.status,
        "headers": fetched.headers,
        "bytes": len(fetched.body),
        "truncated": fetched.truncated,
        "encoding": encoding,
        "body": body,
        "attempts": attempts,
        "cache": cache,
        "timing": {"queued": milliseconds(queued), **fetched.timing},
    }
