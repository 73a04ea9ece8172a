"""Pictures of about 300 KiB, the same in each run: JPEG of 1600 x 1200, noise that is enlarged."""

import hashlib
import random
from pathlib import Path
from typing import Final

from bench.upstream import FOLDER

__all__ = ["NOISE", "Pictures", "missing", "sha256_of"]

_GROUNDS: Final = 10
"""Pictures that are drawn from nothing; the others are one of these with a square of their own."""
_SMALL, _LARGE = (160, 120), (1600, 1200)
_SOFTER: Final = bytes(64 + value // 2 for value in range(256))
NOISE: Final = "images"
"""The folder that nginx serves them from."""


def missing() -> str | None:
    """Say what has to be installed to make them, or return None."""
    try:
        import PIL  # noqa: F401 - whether it is there
    except ImportError:
        return "the extra images (Pillow)"
    return None


class Pictures:
    """So many files in the folder that the upstream serves; made where they are not there."""

    def __init__(self, count: int) -> None:
        self.folder: Final = FOLDER / "www" / NOISE
        self.names: Final = [f"{number}.jpg" for number in range(count)]
        self.folder.mkdir(parents=True, exist_ok=True)
        _draw([self.folder / name for name in self.names])
        self.hashes: Final = {name: sha256_of(self.folder / name) for name in self.names}

    @property
    def paths(self) -> list[Path]:
        """Return the files."""
        return [self.folder / name for name in self.names]

    def urls(self, port: int) -> list[str]:
        """Return their addresses at a port."""
        return [f"http://127.0.0.1:{port}/{NOISE}/{name}" for name in self.names]

    def remove(self) -> None:
        """Delete the files."""
        for path in self.paths:
            path.unlink(missing_ok=True)


def _draw(paths: list[Path]) -> None:
    from PIL import Image

    grounds = []
    for number in range(_GROUNDS):
        noise = random.Random(number).randbytes(3 * _SMALL[0] * _SMALL[1]).translate(_SOFTER)
        grounds.append(Image.frombytes("RGB", _SMALL, noise).resize(_LARGE, Image.Resampling.BICUBIC))
    for number, path in enumerate(paths):
        picture, chance = grounds[number % _GROUNDS].copy(), random.Random(number)
        colour, left, top = tuple(chance.randbytes(3)), chance.randrange(1400), chance.randrange(1000)
        picture.paste(colour, (left, top, left + 150, top + 150))
        picture.save(path, "JPEG", quality=85)


def sha256_of(path: Path) -> str:
    """Return the hash of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
