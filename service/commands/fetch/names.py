"""Names of files that people can open: ``host/path.ext``, by the URL and the type of what it gave.

A name works on Linux, macOS and Windows, on file systems with and without case. Names of a run are different
because those that are taken are known: the first URL gets the readable name, and others with the same one, like
all URLs with a query, get a part of the URL's SHA-256 at its end.
"""

import re
from collections.abc import Iterator
from hashlib import sha256
from unicodedata import category, normalize
from urllib.parse import unquote_to_bytes

from service.commands.fetch.types import suffix_for

__all__ = ["Names", "candidates"]

_LONGEST = 100
"""Bytes of one part of a path: every file system takes 255, an encrypted one may take 143."""
_LONGEST_PATH = 200
"""Bytes in all: Windows takes 260 characters with the folder before them."""
_LONGEST_QUERY = 40

_PARTS = re.compile(r"[^:/?#]+://[^/?#]*(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?")
_EXTENSION = re.compile(r"(.*[^.])(\.[A-Za-z0-9]{1,8})", re.DOTALL)
_HARMFUL = re.compile(r"[^A-Za-z0-9._=+,@~()-]+", re.ASCII)
_RESERVED = re.compile(r"(?i:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])(?:\.|$)")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class Names:
    """The names that are taken, and those that are still free."""

    def __init__(self) -> None:
        # Hashes of names, in the one case that they have on every file system: 60 bytes each instead of 150. Two
        # names of one hash cost a longer name, no file.
        self._files: set[int] = set()
        self._folders: set[int] = set()

    def reserve(self, path: str) -> None:
        """Keep a name for the file that has it."""
        self._files.add(_key(path))
        self._folders.update(_key(folder) for folder in _folders(path))

    def choose(self, url: str, origin: str, content_type: str, own: str | None = None) -> str:
        """Return a free name for what a URL gave, and take it; ``own`` is one that it has already."""
        for candidate in candidates(url, origin, content_type):
            path = self._beside_files(candidate)
            key = _key(path)
            if path == own or (key not in self._files and key not in self._folders):
                self.reserve(path)
                return path
        raise FileExistsError(f"no free file name: {path}")

    def _beside_files(self, path: str) -> str:
        """Return the path with other names for folders where files have them."""
        *folders, name = path.split("/")
        so_far = ""
        for folder in folders:
            so_far += folder
            while _key(so_far) in self._files:
                so_far += "~"
            so_far += "/"
        return so_far + name


def candidates(url: str, origin: str, content_type: str) -> Iterator[str]:
    """Yield names for what a URL gave, the most readable first; the last one belongs to no other URL."""
    parts = _PARTS.match(url)
    path, query = (parts["path"], parts["query"]) if parts else ("", None)
    digest = sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
    folders, last = _segments(path)
    stem, extension = _split(last or "index")
    added = suffix_for(extension, content_type) or ("" if last else ".html")
    if added:
        stem, extension = stem + extension, added
    if query is not None:
        stem = f"{stem}_{_cut(_clean(_decoded(query)), _LONGEST_QUERY)}" if query else stem
    stem, shortened = _fitting(stem, _LONGEST - len(extension) - 17)
    within = [_host(origin), *map(_bounded, folders)]
    while len(within) > 1 and len("/".join([*within, stem, extension]).encode()) + 17 > _LONGEST_PATH:
        within.pop()
        shortened = True
    lengths = (8, 16, 32) if shortened or query is not None else (0, 8, 16, 32)
    for length in lengths:
        mark = f"-{digest[:length]}" if length else ""
        yield "/".join([*within, _safe(f"{stem}{mark}{extension}")])


def _host(origin: str) -> str:
    scheme, _, authority = origin.partition("://")
    host, _, port = authority.rpartition(":")
    name = host.strip("[]")
    return _bounded(_safe(_clean(name if port == _DEFAULT_PORTS.get(scheme) else f"{name}+{port}")))


def _segments(path: str) -> tuple[list[str], str]:
    """Return the folders of a path, and its last part, which is empty for a folder."""
    found: list[str] = []
    *folders, last = path.split("/")
    for folder in map(_decoded, folders):
        if folder == "..":
            del found[-1:]
        elif folder not in ("", "."):
            found.append(_safe(_clean(folder)))
    last = _decoded(last)
    if last in ("", ".", ".."):
        return found[:-1] if last == ".." else found, ""
    return found, _safe(_clean(last))


def _decoded(text: str) -> str:
    raw = unquote_to_bytes(text)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _clean(text: str) -> str:
    """Return a text without what a file system, a shell or a terminal would stumble over."""
    if text.isascii():
        return _HARMFUL.sub("_", text)
    kept = "".join(character if _harmless(character) else "\x00" for character in normalize("NFC", text))
    return re.sub("\x00+", "_", kept)


def _harmless(character: str) -> bool:
    if character < "\x80":
        return not _HARMFUL.match(character)
    # Letters, marks, numbers, punctuation and symbols: no controls, formats (they reverse text), or spaces.
    return category(character)[0] in "LMNPS"


def _safe(part: str) -> str:
    """Return a part of a path that no system takes for something else."""
    part = part.rstrip(".") or "_"
    if part[0] in ".-~" or _RESERVED.match(part):
        return "_" + part
    return part


def _split(name: str) -> tuple[str, str]:
    found = _EXTENSION.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


def _fitting(text: str, size: int) -> tuple[str, bool]:
    cut = _cut(text, size)
    return cut, cut != text


def _bounded(folder: str) -> str:
    """Return the name of a folder, which has a mark of its own where it had to be cut."""
    cut, shortened = _fitting(folder, _LONGEST)
    if not shortened:
        return folder
    return f"{_cut(cut, _LONGEST - 9)}-{sha256(folder.encode()).hexdigest()[:8]}"


def _folders(path: str) -> Iterator[str]:
    end = path.find("/")
    while end >= 0:
        yield path[:end]
        end = path.find("/", end + 1)


def _key(path: str) -> int:
    return hash(path.casefold())
