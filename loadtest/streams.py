"""Standard streams that are closed, full or broken: the program runs all the same.

A closed one is opened on /dev/null, or the first file or socket would get its number, and with it what is written
there. What cannot be written to standard error is lost, since nothing can report it; for standard output there is
one line on standard error, and an exit code.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from select import select
from typing import Final

__all__ = ["greet", "open_standard_streams", "run"]

_READER_LEFT: Final = 141
"""What a shell reports for a program that SIGPIPE has ended."""


class _Stream(TextIOWrapper):
    """Standard output or error: keeps the first error, and takes nothing after it."""

    error: OSError | None = None

    def write(self, text: str) -> int:
        """Write a text."""
        self._try(lambda: super(_Stream, self).write(text))
        return len(text)

    def flush(self) -> None:
        """Write what is in the buffer."""
        self._try(super().flush)

    def _try(self, step: Callable[[], object]) -> None:
        if self.error is None:
            try:
                step()
            except OSError as error:
                self.error = error


def run(program: str, command: Callable[[], int]) -> int:
    """Run a command on streams that cannot fail, and return its exit code, or that of its output."""
    open_standard_streams()
    try:
        return command() or _failed(program)
    except SystemExit as stop:
        raise SystemExit(stop.code or _failed(program)) from None


def open_standard_streams() -> None:
    """Open what is closed, and have writes that fail raise nothing."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            # Programs that this one starts need it as much.
            os.set_inheritable(descriptor, True)
        given = getattr(sys, name)
        if name == "stdin":
            sys.stdin = given or os.fdopen(descriptor, encoding="utf-8", closefd=False)
        elif given is None or given is getattr(sys, f"__{name}__"):  # else somebody captures it
            setattr(sys, name, _stream(descriptor, given))


def _stream(descriptor: int, given: TextIOWrapper | None) -> _Stream:
    if isinstance(given, _Stream):
        return given
    line_buffering = descriptor == 2 or os.isatty(descriptor)
    raw = BufferedWriter(FileIO(descriptor, "w", closefd=False))
    encoding = given.encoding if given is not None else "utf-8"
    return _Stream(raw, encoding=encoding, errors="backslashreplace", line_buffering=line_buffering)


def greet(text: str) -> None:
    """Write a line to standard output if it can be written now: a program that serves does not depend on it."""
    sys.stdout.flush()
    with suppress(OSError):
        if select([], [1], [], 0)[1]:
            os.write(1, f"{text}\n".encode())


def _failed(program: str) -> int:
    """Return the exit code that standard output makes necessary, and say why."""
    sys.stdout.flush()
    error = getattr(sys.stdout, "error", None)
    if error is None:
        return 0
    if isinstance(error, BrokenPipeError):
        return _READER_LEFT
    sys.stderr.write(f"{program}: cannot write to standard output: {error.strerror}\n")
    return 1
