"""The process of a slot: runs one function after another, until the service closes its end of the socket.

It is given the number of the socket, the bytes of memory that it may have (0: any), and the module with the
functions. One thread reads what the service says, so that a function can be asked to stop; the main thread runs the
functions.
"""

import asyncio
import importlib
import inspect
import json
import os
import queue
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from service.core.errors import SluiceError
from service.core.jobs.events import ProgressEvent
from service.core.parsing import parse
from service.jobs.registry import JOBS, Context, Function
from service.jobs.slot_messages import (
    END,
    HEAD,
    LONGEST,
    Ask,
    Described,
    Ended,
    ProgressReported,
    ProgressStored,
    Stop,
    decode,
    encode,
    length_of,
)
from service.jobs.surroundings import Surroundings
from service.runtime.child_process import limit
from service.runtime.python_path import find_modules_here

__all__ = ["main", "run"]

_AHEAD: Final = 16
"""Reports that are not stored yet, after which a function waits."""
_ROOM: Final = 1 << 20
"""Bytes of a frame beside what a function gave."""
_TEXT: Final = 4000
"""Characters of what a function raised."""


class SlotConnection:
    """The socket, from the main thread, from the one that reads, and from those that a function starts."""

    def __init__(self, given: socket.socket) -> None:
        self.asked: queue.SimpleQueue[Ask] = queue.SimpleQueue()
        self.cancelled = False
        self._socket = given
        self._pid = os.getpid()
        self._sending = threading.Lock()
        self._reports = threading.Semaphore(_AHEAD)

    @property
    def ours(self) -> bool:
        """Whether this is the process of the slot: one that a function has forked has the socket, too."""
        return os.getpid() == self._pid

    def send(self, frame: bytes) -> None:
        """Send a frame."""
        with self._sending:
            self._socket.sendall(frame)

    def report(self, frame: bytes, over: Callable[[], bool]) -> bool:
        """Send progress, once not much of it is left to be stored; return whether its function runs even then."""
        self._reports.acquire()
        with self._sending:
            if not over():
                self._socket.sendall(frame)
                return True
        self._reports.release()
        return False

    def read(self) -> None:
        """Take in what the service says, until it has gone: then the process ends, with all that it does."""
        while True:
            message = decode(self._exactly(length_of(self._exactly(HEAD))))
            if isinstance(message, Ask):
                self.cancelled = False
                self.asked.put(message)
            elif isinstance(message, Stop):
                self.cancelled = True
            elif isinstance(message, ProgressStored):
                self._reports.release()

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                os._exit(0)
            data += piece
        return bytes(data)


def main(arguments: Sequence[str]) -> None:
    """Serve a service."""
    number, memory, module = arguments
    limit(int(memory))
    connection = SlotConnection(socket.socket(fileno=int(number)))
    connection.send(encode(_described(module)))
    threading.Thread(target=connection.read, daemon=True).start()
    surroundings = Surroundings()
    while True:
        asked = connection.asked.get()
        ended = run(asked, connection)
        if not connection.ours:
            os._exit(0)  # the function has forked, and this is not the process that the service waits for
        _finish_output()
        connection.send(encode(msgspec.structs.replace(ended, spoilt=surroundings.spoilt())))


class Reports:
    """The progress of one function, as long as it runs."""

    def __init__(self, connection: SlotConnection) -> None:
        self._connection = connection
        self.over = False

    @property
    def cancelled(self) -> bool:
        """Whether the function is asked to stop."""
        return self.over or self._connection.cancelled

    def report(self, progress: dict[str, Any]) -> None:
        """Send progress; raise ValueError for what cannot be sent, and RuntimeError where nobody waits for it."""
        frame = _encoded(progress)
        if self.over or not self._connection.ours or not self._connection.report(frame, lambda: self.over):
            raise RuntimeError("progress can be reported only by the process of a job, while its function runs")


def _finish_output() -> None:
    """Mark the end of what a function has printed; one that has closed its output has none."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # the function may have put anything in its place
            stream.flush()
    with suppress(OSError):
        os.write(1, END)


def _described(module: str) -> Described:
    find_modules_here()
    try:
        importlib.import_module(module)
    except BaseException as error:  # a module may call sys.exit, and say why
        traceback.print_exc()
        return Described(wrong=_text(error))
    if not JOBS:
        file = getattr(sys.modules.get(module), "__file__", None) or module
        return Described(wrong=f"{file} has no functions with @job")
    return Described({name: (one.retries, one.timeout) for name, one in JOBS.items()})


def run(asked: Ask, connection: SlotConnection) -> Ended:
    """Run a function, and return how it ended."""
    function = JOBS.get(asked.name)
    if function is None:
        # Another attempt may find it: a release may have reached the service before this machine.
        return Ended(error=f"the module here has no function {asked.name!r}")
    reports = Reports(connection)
    try:
        result = _call(function, asked, Context(asked.job, asked.attempt, asked.key, reports))
    except BaseException as error:  # SystemExit is an error of the function, too
        _print(error)
        return Ended(error=_text(error))
    finally:
        reports.over = True
    try:
        return _fitting(Ended(msgspec.Raw(_exact(result))))
    except Exception as error:
        return Ended(error=f"the result cannot be written as JSON: {_text(error)}", again=False)


def _text(error: BaseException) -> str:
    """Say what was raised; its own text may be anything, and may raise."""
    try:
        text = str(error)
    except BaseException as other:
        text = f"its text raised {type(other).__name__}"
    return f"{type(error).__name__}: {text}"[:_TEXT].encode(errors="replace").decode()


def _print(error: BaseException) -> None:
    with suppress(Exception):  # the function may have closed its output; _text says what was raised
        traceback.print_exception(error)


def _call(function: Function, asked: Ask, context: Context) -> Any:
    positions = asked.args if isinstance(asked.args, list) else []
    keywords = dict(asked.args) if isinstance(asked.args, dict) else {}
    if function.wants_context:
        keywords["context"] = context
    result = function.call(*positions, **keywords)
    return asyncio.run(_outcome(result)) if inspect.isawaitable(result) else result


async def _outcome(result: Any) -> Any:
    return await result


def _fitting(ended: Ended) -> Ended:
    size = len(bytes(ended.result))
    if size > LONGEST - _ROOM:
        return Ended(error=f"the result has {size} bytes, and may have {LONGEST - _ROOM}", again=False)
    return ended


def _exact(value: Any) -> bytes:
    """Return a value as JSON; raise ValueError or TypeError if JSON cannot represent it, or not exactly."""
    text = msgspec.json.encode(value)
    _check(text, value)
    return text


def _check(text: bytes, value: Any) -> None:
    """Raise ValueError or TypeError if a text in JSON does not represent its value exactly."""
    if b"null" in text:  # a null may have been NaN
        json.dumps(msgspec.to_builtins(value, str_keys=True), allow_nan=False)
    try:
        parse(text)
    except SluiceError as error:
        raise ValueError(error.detail) from error


def _encoded(progress: dict[str, Any]) -> bytes:
    try:
        msgspec.convert(progress, ProgressEvent)
        frame = encode(ProgressReported(progress))
        _check(frame[HEAD:], progress)
    except (msgspec.ValidationError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise ValueError(f"progress cannot be written as JSON: {error}") from error
    if len(frame) > _ROOM:
        raise ValueError(f"progress has {len(frame)} bytes, and may have {_ROOM}")
    return frame


if __name__ == "__main__":
    main(sys.argv[1:])
