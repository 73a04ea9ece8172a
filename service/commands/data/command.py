"""The commands themselves: each opens what it is given, does its work, and says in one line the outcome of it."""

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Final

from service.commands.progress_line import ProgressLine
from service.commands.units import size_text
from service.commands.writing import print_all
from service.runtime.signals import handling
from service.storage.errors import StorageUnusable

__all__ = ["run"]

_FAILED, _USAGE, _INTERRUPTED = 1, 2, 130
_AT_ONE_MOMENT: Final = ("backup", "check")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(options: Namespace) -> int:
    """Run the command and return its exit code."""
    if wrong := _settle(options, os.environ):
        return _complain(wrong, _USAGE)
    try:
        # They end the command where it can take back what it has begun. One that Ctrl-Z stops while it looks at one
        # moment of the database would make its WAL grow until somebody goes on with it.
        stop = {signal.SIGTSTP: signal.SIG_IGN} if options.command in _AT_ONE_MOMENT else {}
        with handling({**dict.fromkeys(_SIGNALS, _interrupt), **stop}):
            return _COMMANDS[options.command](options)
    except ImportError as error:
        if error.name != "apsw":
            raise
        return _complain(f"sluice {options.command} needs the package apsw: pip install 'sluice[data]'")
    except StorageUnusable as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"{error.filename or options.command}: {error.strerror}")
    except KeyboardInterrupt:
        return _complain("interrupted", _INTERRUPTED)


def _settle(options: Namespace, environ: Mapping[str, str]) -> str:
    """Settle what is read: ``data``, or a file in its place; return what is wrong with that."""
    either = options.command in ("check", "export")
    if either and options.data and options.file:
        return "give --data DIR or FILE, not both"
    if either and options.file:
        options.data = options.file
    options.data = options.data or environ.get("SLUICE_DATA")
    return "" if options.data else "--data DIR is needed, or SLUICE_DATA in the environment"


def _backup(options: Namespace) -> int:
    from service.commands.data.listing import faults_of
    from service.storage.copying import back_up
    from service.storage.reader import DatabaseReader, database_of
    from service.storage.verification import verify

    target = Path(options.file)
    with DatabaseReader(database_of(Path(options.data))) as reader, ProgressLine("copying", size_text) as meter:
        back_up(reader, target, meter.report, replace=options.force)
    with DatabaseReader(target) as copy, ProgressLine("verifying", _count) as meter:
        found = verify(copy, meter.report)
    sys.stdout.write(f"{target}: {size_text(found.size)}, {found.commits:,} commits\n")
    if not found.sound:
        return _complain(f"{target} was made of damaged data: {faults_of(found)}; see `sluice check {target}`")
    return 0


def _restore(options: Namespace) -> int:
    from service.commands.data.listing import faults_of
    from service.storage.copying import restore
    from service.storage.reader import DatabaseReader, database_of
    from service.storage.verification import verify

    source, target = database_of(Path(options.file)), Path(options.data)

    def check(path: Path) -> None:
        with DatabaseReader(path) as copy, ProgressLine("verifying", _count) as meter:
            found = verify(copy, meter.report)
        if not found.sound and not options.accept_damage:
            raise StorageUnusable(f"{source}: {faults_of(found)}; --accept-damage restores what is whole")

    with DatabaseReader(source) as reader, ProgressLine("copying", size_text) as meter:
        restore(reader, target, meter.report, check, new_epochs=options.new_epochs)
    kept = "every topic begins a new epoch" if options.new_epochs else "topics keep their epochs and positions"
    sys.stdout.write(f"{target}: restored from {source}; {kept}\n")
    return 0


def _check(options: Namespace) -> int:
    from service.commands.data.listing import as_json, as_text
    from service.storage.reader import DatabaseReader, database_of
    from service.storage.verification import verify

    path = database_of(Path(options.data))
    with DatabaseReader(path) as reader, ProgressLine("verifying", _count) as meter:
        found = verify(reader, meter.report)
    lines = (as_json(path, found),) if options.json else as_text(path, found)
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0 if found.sound else _FAILED


def _export(options: Namespace) -> int:
    from service.storage.exporting import lines_of
    from service.storage.reader import DatabaseReader, database_of

    with DatabaseReader(database_of(Path(options.data))) as reader:
        for lines in lines_of(reader, options.topic):
            if code := print_all(lines, _complain):
                return code
    return 0


_COMMANDS: Final[dict[str, Callable[[Namespace], int]]] = {
    "backup": _backup,
    "restore": _restore,
    "check": _check,
    "export": _export,
}


def _count(number: int) -> str:
    return f"{number:,}"


def _complain(text: str, code: int = _FAILED) -> int:
    sys.stderr.write(f"sluice: {text}\n")
    return code


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A second one must not cut the cleaning up short.
    for one in _SIGNALS:
        signal.signal(one, _exit_at_once)
    raise KeyboardInterrupt


def _exit_at_once(number: int, frame: FrameType | None) -> None:
    os._exit(_INTERRUPTED)
