"""Files below one directory that was opened once: whole or not at all, and never through a symbolic link."""

import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import file_digest

from service.runtime.whole_files import temporary_file

__all__ = ["Occupied", "Tree"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking: a planted FIFO would wait for its other end.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_UNFINISHED = ".incomplete"


class Occupied(OSError):
    """Something else has this name; ``path`` says which."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.EEXIST, "the name is taken", path)
        self.path = path


class Tree:
    """The files below an open directory. Methods raise OSError, and may run in several threads."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._numbers = itertools.count()
        with suppress(FileExistsError):
            os.mkdir(_UNFINISHED, dir_fd=root)
        self._unfinished = _enter(root, _UNFINISHED, _UNFINISHED)
        # What a run that was killed has left.
        for name in os.listdir(self._unfinished):
            os.unlink(name, dir_fd=self._unfinished)

    def close(self) -> None:
        """Remove the folder of unfinished files, which is empty when every write has ended."""
        os.close(self._unfinished)
        with suppress(OSError):  # another run finds it, and goes on with it
            os.rmdir(_UNFINISHED, dir_fd=self._root)

    def append(self, name: str) -> int:
        """Open a file at the top for reading and appending, and return its descriptor."""
        descriptor = os.open(name, _APPEND, 0o666, dir_fd=self._root)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "not a regular file", name)
        return descriptor

    def size(self, path: str) -> int:
        """Return the size of a regular file."""
        *folders, name = path.split("/")
        with self._folder(folders) as folder:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        return found.st_size

    def sha256(self, path: str) -> str:
        """Return the SHA-256 of a file."""
        *folders, name = path.split("/")
        with self._folder(folders) as folder:
            descriptor = os.open(name, _READ, dir_fd=folder)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            return file_digest(file, "sha256").hexdigest()

    def write(self, path: str, body: bytes, *, replace: bool, before: Callable[[], None]) -> None:
        """Write a file; ``before`` is called when all of it is written, just before it gets its name.

        Raises Occupied where a file has its name, unless ``replace``, or the name of one of its folders.
        """
        *folders, name = path.split("/")
        unfinished = str(next(self._numbers))
        with (
            temporary_file(self._unfinished, unfinished, body, mode=0o666, sync=False),
            self._folder(folders, make=True) as folder,
        ):
            _check_free(folder, name, path, replace)
            before()
            os.rename(unfinished, name, src_dir_fd=self._unfinished, dst_dir_fd=folder)

    @contextmanager
    def _folder(self, parts: Sequence[str], *, make: bool = False) -> Iterator[int]:
        descriptor = os.dup(self._root)
        try:
            for count, part in enumerate(parts, 1):
                path = "/".join(parts[:count])
                try:
                    below = _enter(descriptor, part, path)
                except FileNotFoundError:
                    if not make:
                        raise
                    with suppress(FileExistsError):  # another thread was faster
                        os.mkdir(part, dir_fd=descriptor)
                    below = _enter(descriptor, part, path)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)


def _enter(folder: int, name: str, path: str) -> int:
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, "not a valid folder name", path)
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except NotADirectoryError:
        _refuse_link(os.stat(name, dir_fd=folder, follow_symlinks=False), path)
        raise Occupied(path) from None


def _check_free(folder: int, name: str, path: str, replace: bool) -> None:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    _refuse_link(found, path)
    if not (replace and stat.S_ISREG(found.st_mode)):
        raise Occupied(path)


def _refuse_link(found: os.stat_result, path: str) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "is a symbolic link, which is not followed", path)
