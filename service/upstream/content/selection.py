"""What of a page is watched: a JSON Pointer (RFC 6901) or a CSS selector, and what it finds.

Run as a module it is the process that does it: pages are other people's, and there are pages and selectors
on which every HTML parser and matcher takes minutes (``p ~ p`` on 120,000 siblings). A process can be ended; it
reads requests from standard input and writes answers to standard output.
"""

import os
import resource
import struct
import sys
from functools import lru_cache
from typing import BinaryIO, Final

import cssselect

from service.upstream.content.charset import read_text
from service.upstream.content.json_pointer import value_at
from service.upstream.content.select_failed import SelectFailed, SelectKind

__all__ = ["ANSWER", "KINDS", "REQUEST", "check_select", "select_from"]

REQUEST: Final = struct.Struct(">III?")
"""The lengths of the selection, of the Content-Type and of the body, which follow; whether the body was cut."""
ANSWER: Final = struct.Struct(">BI")
"""Which of KINDS the error is, and the length of what was found, or of why not, which follows."""
KINDS: Final[tuple[SelectKind | None, ...]] = (None, "protocol", "too_large", "unavailable")
_MEMORY: Final = 1 << 30


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


def select_from(body: bytes, select: str, content_type: str | None = None, *, cut: bool = False) -> bytes:
    """Return the JSON value, or the texts of the elements, one a line. Raises SelectFailed.

    ``cut`` says that the body is the beginning of a larger one.
    """
    if select.startswith("/"):
        if cut:
            raise SelectFailed(f"the body is larger than {len(body):,} bytes and was cut", "too_large")
        return value_at(read_text(body, content_type, syntax="json").text, select).encode()
    # Only the process that does the work pays for lxml.
    from service.upstream.content.markup import texts_of

    return texts_of(body, select, content_type, cut=cut).encode("utf-8", "replace")


def _failed(error: Exception) -> SelectFailed:
    if isinstance(error, SelectFailed):
        return error
    if isinstance(error, MemoryError):
        return SelectFailed(f"needs more than {_MEMORY >> 20:,} MiB of memory", "too_large")
    return SelectFailed(f"internal error: {type(error).__name__}: {error}"[:200], "unavailable")


def _serve(requests: BinaryIO, answers: BinaryIO, most: int = sys.maxsize) -> None:
    """Answer requests, so many of them at the most."""
    while most and (head := requests.read(REQUEST.size)):
        most -= 1
        select_size, type_size, body_size, cut = REQUEST.unpack(head)
        select, content_type = requests.read(select_size).decode(), requests.read(type_size).decode()
        body = requests.read(body_size)
        try:
            found, text = 0, select_from(body, select, content_type, cut=cut)
        except Exception as error:
            failed = _failed(error)
            found, text = KINDS.index(failed.kind), str(failed).encode()
        answers.write(ANSWER.pack(found, len(text)) + text)
        answers.flush()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    _serve(sys.stdin.buffer, sys.stdout.buffer, most=1)
    # Where there is one core, the loop has it first; but what waits for a new process waits for its imports.
    os.nice(10)
    _serve(sys.stdin.buffer, sys.stdout.buffer)
