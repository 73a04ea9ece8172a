"""Which part of a page is watched: a JSON Pointer (RFC 6901) or a CSS selector, and what it finds.

Run as a module, this is the parent of the processes that select. Pages come from strangers, and there are pages and
selectors on which every HTML parser and matcher takes minutes (``p ~ p`` on 120,000 siblings). A process can be
ended, and the next one is forked from a parent that has imported everything: nobody waits for 0.5 s of imports
because somebody else's selection was ended.
"""

import gc
import os
import signal
import socket
import struct
import sys
from functools import lru_cache
from typing import BinaryIO, Final

import cssselect

from service.runtime.allocator import trim
from service.runtime.child_process import limit
from service.upstream.content.charset import read_text
from service.upstream.content.json_pointer import value_at
from service.upstream.content.select_failed import SelectFailed, SelectKind

__all__ = ["ANSWER", "KINDS", "REQUEST", "check_select", "select_from"]

REQUEST: Final = struct.Struct(">III?")
"""The lengths of the selection, of the Content-Type and of the body, which follow; whether the body was cut."""
ANSWER: Final = struct.Struct(">BI")
"""Which of KINDS the error is, and the length of what was found, or of why not, which follows."""
KINDS: Final[tuple[SelectKind | None, ...]] = (None, "protocol", "too_large", "unavailable")
_LONGEST: Final = 4096
"""Characters of a selection: a selector of two megabytes takes five seconds to read, on the event loop."""
_MEMORY: Final = 1 << 30
_LARGE: Final = 256 << 10
"""Parsing takes 10 to 50 times the bytes of a body. Above this size that memory is given back, which takes 5 ms."""


def check_select(select: str) -> str | None:
    """Say what is wrong with a selection, or return None."""
    if len(select) > _LONGEST:
        return f"has more than {_LONGEST:,} characters"
    return _checked(select)


@lru_cache(maxsize=1024)
def _checked(select: str) -> str | None:
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


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer the service's requests for selections until it closes the connection."""
    while head := requests.read(REQUEST.size):
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
        # Not kept until the next request: that may come in a minute, or never.
        del body, text
        if body_size > _LARGE:
            trim()


def _fork(control: socket.socket, connection: socket.socket, niceness: int) -> int:
    """Fork a process that answers the requests on a connection; return its id, or 0 if the fork fails."""
    try:
        child = os.fork()
    except OSError:
        return 0  # The service notices that its connection is closed.
    if child:
        return child
    try:
        control.close()
        limit(_MEMORY)
        os.nice(niceness)
        with connection.makefile("rb") as requests, connection.makefile("wb") as answers:
            _serve(requests, answers)
    finally:
        os._exit(0)


def _end(child: int) -> None:
    if child:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _serve_forks(control: socket.socket) -> None:
    """Fork and end processes as the service asks on a socket, until it closes that.

    A datagram holds a niceness, which identifies the process that runs at it. That process is ended. If the
    datagram carries a connection, a new process at this niceness answers the requests on it.
    """
    children: dict[int, int] = {}
    while True:
        asked, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not asked:
            break
        _end(children.pop(asked[0], 0))
        for descriptor in descriptors:
            with socket.socket(fileno=descriptor) as connection:
                children[asked[0]] = _fork(control, connection, asked[0])
    for child in children.values():
        _end(child)


if __name__ == "__main__":
    limit(_MEMORY)
    select_from(b"<p>", "p", "text/html")  # The imports of a first selection, for all children.
    gc.freeze()
    _serve_forks(socket.socket(fileno=int(sys.argv[1])))
