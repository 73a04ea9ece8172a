"""Bodies as files: under names that are safe and always the same for a URL, whole or not at all."""

import fcntl
import os
import re
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["Folder", "SavingFailed", "file_name"]

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}")


class SavingFailed(Exception):
    """The folder cannot be used; the text says why."""


def file_name(url: str) -> str:
    """Return the name for a URL: the end of its path as far as it is harmless, and a part of its SHA-256.

    At most 80 ASCII characters, no separators, and no two URLs alike, whatever the file system makes of case.
    """
    try:
        last = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
    except ValueError:
        last = ""
    stem, extension = os.path.splitext(last)
    if not _EXTENSION.fullmatch(extension):
        stem, extension = last, ""
    readable = _UNSAFE.sub("_", stem).strip("._-")[:48] or "index"
    return f"{readable}-{sha256(url.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}{extension}"


class Folder:
    """A directory that one run saves to at a time. Raises SavingFailed where that cannot be."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise SavingFailed(f"--output: {path}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise SavingFailed(f"--output: another run saves to {path}") from None
        self._there = {entry.name for entry in os.scandir(path)}

    def has(self, url: str) -> bool:
        """Return whether the body of a URL was there when the run began."""
        return file_name(url) in self._there

    def save(self, url: str, body: bytes) -> str:
        """Write a body and return its name; blocks, and may run in several threads. Raises OSError.

        What is written lies under another name until it is whole. A run that was killed leaves that, and the
        next one writes over it.
        """
        name = file_name(url)
        part = self.path / f".{name}.part"
        part.write_bytes(body)
        part.replace(self.path / name)
        return name

    def close(self) -> None:
        """Let another run in."""
        os.close(self._lock)
