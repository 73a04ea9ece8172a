"""The command line of ``sluice count``."""

import os
import re
from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import Final

__all__ = ["MOST_PROCESSES", "add_options", "separator_of"]

MOST_PROCESSES: Final = 8
"""Unless more are asked for: each takes memory, and what they find is merged by one."""
_DESCRIPTION: Final = """\
Count how often each key comes in the lines of files: a field of the line, or
the group of a regular expression. Prints the most frequent keys, by count and
then by key. Plain files are cut into parts for several processes; gzip and
zstd are recognised by content, one process a file.
"""
_EPILOG: Final = """\
INPUT
  Lines end with LF or CRLF; the last one may lack its end. Lines without the
  field or a match are skipped, and so are lines over 1 MiB and keys over
  1 KiB. A file that cannot be read, or not to its end, is reported; the others
  are counted, and so is what was read of it ("missed" says how many files).

EXACTNESS AND MEMORY
  Counts are exact up to 1,000,000 distinct keys (up to 64 bytes on average).
  Beyond that a count may be too low by "error_bound" at most, and "exact"
  is false. The memory is bounded for any input: up to about 230 MiB, and
  50 MiB for each process (zstd with a large window: up to 128 MiB more).

SPARK
  With --spark the parts are counted by a cluster, and always exactly. It reads
  the spark-defaults.conf in SPARK_CONF_DIR.

EXIT CODES
  0    everything was counted
  1    a file could not be read to its end, Spark has failed, or the result
       could not be written
  2    the command line cannot be used
  130  interrupted (Ctrl-C, SIGTERM)
  141  the reader of standard output has closed it, as "| head" does

EXAMPLES
  sluice count access.log access.log.*.gz --field 1
  sluice count access.log --regex '" (5\\d\\d) ' --json
  zcat big.gz | sluice count - --field 3 --separator '\\t' --top 100
"""
_ESCAPES: Final = re.compile(rb"\\(?:(t)|x([0-9A-Fa-f]{2})|(\\))")


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.formatter_class = RawDescriptionHelpFormatter
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help="- is standard input, which is also read without any FILE")
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument(
        "--field", type=_between(1, 1000), metavar="N", help="the key is this field of the line, from 1"
    )
    key.add_argument("--regex", type=_pattern, metavar="PATTERN",
        help="the key is the one group of the first match; the pattern matches bytes")  # fmt: skip
    add("--separator", type=separator_of, metavar="TEXT",
        help=r"text between two fields; \t is a tab, \xHH a byte (default: any run of white space)")  # fmt: skip
    add("--top", type=_between(1, 100_000), default=20, metavar="N", help="how many keys to print (default 20)")
    cores = f"default: cores, at most {MOST_PROCESSES}"
    add("--processes", type=_between(1, 64), metavar="N", help=f"how many processes count ({cores})")
    add("--spark", metavar="MASTER_URL",
        help="count on this Spark cluster (extra spark, Java 17), such as spark://host:7077 or local[4]: every "
        "machine of it has the files at the same paths")  # fmt: skip
    add("--json", action="store_true", help='print the result as JSON, like "counts" of a batch')
    add("-q", "--quiet", action="store_true", help="show neither progress nor summary")


def separator_of(text: str) -> bytes:
    """Return a separator as the bytes that it is in files; raises ArgumentTypeError."""
    separator = _ESCAPES.sub(_unescaped, os.fsencode(text))
    if not 1 <= len(separator) <= 16:
        raise ArgumentTypeError(f"{text[:40]!r} does not have 1 to 16 bytes")
    if b"\n" in separator or b"\r" in separator:
        raise ArgumentTypeError(f"{text!r} has a line break, which ends the line")
    return separator


def _unescaped(match: "re.Match[bytes]") -> bytes:
    tab, code, _ = match.groups()
    return b"\t" if tab else bytes.fromhex(code.decode()) if code else b"\\"


def _between(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ArgumentTypeError(f"{text[:40]!r} is not a whole number") from None
        if not least <= value <= most:
            raise ArgumentTypeError(f"{value} is not between {least} and {most}")
        return value

    return number


def _pattern(text: str) -> str:
    # Not at the top: the other commands start without the packages for patterns.
    from service.work.patterns import compile_pattern

    try:
        compile_pattern(text)
    except UnicodeEncodeError:
        raise ArgumentTypeError(r"it is not UTF-8; \xHH is a byte") from None
    except ValueError as error:
        raise ArgumentTypeError(str(error).removeprefix("regex: ")) from None
    return text
