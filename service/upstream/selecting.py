"""What of a page is watched: a JSON Pointer (RFC 6901) or a CSS selector, and what it finds.

Run as a module it is the process that does it: pages are other people's, and there are pages and selectors
on which every HTML parser and matcher takes minutes (200,000 elements deep, ``p ~ p`` on as many siblings).
A process can be ended; it reads requests from standard input and writes answers to standard output.
"""

import resource
import struct
import sys
from functools import lru_cache
from typing import BinaryIO, Final

import cssselect
import orjson

__all__ = ["ANSWER", "REQUEST", "SelectFailed", "check_select", "select_from"]

REQUEST: Final = struct.Struct(">II")
"""The lengths of the selection and of the body, which follow."""
ANSWER: Final = struct.Struct(">?I")
"""Whether something was found, and the length of it, or of the reason why not, which follows."""
_MEMORY: Final = 1 << 30


class SelectFailed(Exception):
    """The body is not of the kind that the selection is meant for, or has nothing there."""


@lru_cache(maxsize=1024)
def check_select(select: str) -> str | None:
    """Say what is wrong with a selection, or return None."""
    if select.startswith("/"):
        bad = any(part[:1] not in ("0", "1") for part in select.split("~")[1:])
        return "a JSON Pointer has ~ only as ~0 and ~1" if bad else None
    try:
        cssselect.HTMLTranslator().css_to_xpath(select)
    except (cssselect.SelectorError, RecursionError):
        return "neither a JSON Pointer, which begins with /, nor a CSS selector"
    return None


def select_from(body: bytes, select: str) -> bytes:
    """Return the JSON value, or the texts of the elements, one a line. Raises SelectFailed."""
    return _pointed(body, select) if select.startswith("/") else _matched(body, select)


def _pointed(body: bytes, pointer: str) -> bytes:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise SelectFailed("the body is not JSON") from None
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key in map(str, range(len(value))):
            value = value[int(key)]
        else:
            raise SelectFailed("there is nothing at this place")
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise SelectFailed("what is there is nested too deeply") from None


def _matched(body: bytes, selector: str) -> bytes:
    # Only the process that does the work pays for it.
    from lxml import etree, html

    try:
        page = html.document_fromstring(body, parser=html.HTMLParser(no_network=True))
    except (etree.LxmlError, ValueError):
        raise SelectFailed("the body is not HTML") from None
    found = page.xpath(cssselect.HTMLTranslator().css_to_xpath(selector))
    if not found:
        raise SelectFailed("no element matches")
    texts = (" ".join("".join(element.itertext()).split()) for element in found)
    return "\n".join(texts).encode("utf-8", "replace")


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    while head := requests.read(REQUEST.size):
        select_size, body_size = REQUEST.unpack(head)
        select, body = requests.read(select_size).decode(), requests.read(body_size)
        try:
            found, text = True, select_from(body, select)
        except SelectFailed as error:
            found, text = False, str(error).encode()
        answers.write(ANSWER.pack(found, len(text)) + text)
        answers.flush()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    _serve(sys.stdin.buffer, sys.stdout.buffer)
