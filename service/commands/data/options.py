"""The command lines of what is done with a data directory."""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from argparse import _SubParsersAction

__all__ = ["COMMANDS", "add_parsers"]

COMMANDS: Final = ("backup", "restore", "check", "export")
_CODES: Final = """\
EXIT CODES
  0    {done}
  1    {failed}
  2    the command line cannot be used
  130  interrupted (Ctrl-C, SIGTERM){interrupted}
"""
_BACKUP: Final = """\
Copy what the service keeps into one file, while the service runs. The file
has the state of one moment. It gets its name when all of it is on the disk.
"""
_RESTORE: Final = """\
Make a data directory of a backup. Every record is verified first. The
directory is made if it is missing; one that is not empty is refused.

Clients go on with the positions that they have. Where messages were published
after the backup was made, give --new-epochs: the service would give their
positions to other messages. Clients then start over from the oldest message.
"""
_CHECK: Final = """\
Verify the checksum of every record, and show what is kept. The service may
run meanwhile. FILE is a backup, or the database of a data directory.
"""
_EXPORT: Final = """\
Write the messages of a topic to standard output, one a line, as the service
streams them: {"offset":1,"data":...}. Where messages are damaged there is a
line {"event":"gap","from":2,"to":3}. The service may run meanwhile.
"""


def add_parsers(commands: "_SubParsersAction[ArgumentParser]") -> None:
    """Add a parser for each command."""
    backup = _parser(commands, "backup", "copy a data directory into one file, while the service runs", _BACKUP,
        done="the backup was made", failed="no backup was made; or it contains records that were already damaged",
        interrupted="; no backup was made")  # fmt: skip
    _add_data(backup)
    backup.add_argument("--force", action="store_true", help="replace FILE if it exists")
    backup.add_argument("file", metavar="FILE", help="the backup that is made")
    restore = _parser(commands, "restore", "make a data directory of a backup", _RESTORE,
        done="the directory was restored", failed="nothing was restored; the error says why",
        interrupted="; nothing was restored")  # fmt: skip
    _add_data(restore)
    restore.add_argument("--new-epochs", action="store_true",
        help="begin a new epoch in every topic: needed if messages were published after the backup")  # fmt: skip
    restore.add_argument("--accept-damage", action="store_true",
        help="restore what is whole of a damaged backup; readers get a gap in place of the rest")  # fmt: skip
    restore.add_argument("file", metavar="FILE", help="the backup")
    check = _parser(commands, "check", "verify what a data directory or a backup keeps", _CHECK,
        done="everything is what was written",
        failed="something is damaged or missing, or cannot be read")  # fmt: skip
    _add_data(check)
    check.add_argument("--json", action="store_true", help="print one JSON object")
    check.add_argument("file", metavar="FILE", nargs="?", help="a backup, in place of --data")
    export = _parser(commands, "export", "write the messages of a topic as NDJSON", _EXPORT,
        done="all of it was written", failed="the topic is not kept, or it cannot be read or written")  # fmt: skip
    _add_data(export)
    export.add_argument("--topic", metavar="NAME", required=True, help="the topic")
    export.add_argument("file", metavar="FILE", nargs="?", help="a backup, in place of --data")


def _parser(
    commands: "_SubParsersAction[ArgumentParser]",
    name: str,
    summary: str,
    description: str,
    *,
    done: str,
    failed: str,
    interrupted: str = "",
) -> ArgumentParser:
    codes = _CODES.format(done=done, failed=failed, interrupted=interrupted)
    if name in ("check", "export"):
        codes += '  141  the reader of standard output has closed it, as "| head" does\n'
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=codes,
        formatter_class=RawDescriptionHelpFormatter,
    )


def _add_data(parser: ArgumentParser) -> None:
    parser.add_argument("--data", metavar="DIR", help="the data directory (default: SLUICE_DATA)")
