"""A video with a face: a photograph that moves a little, each frame with its number in black and white."""

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

__all__ = ["FRAMES", "difference", "frames", "missing", "number_of"]

FRAMES: Final = 256
"""Frames until it begins again."""
_BITS: Final = 8
_STRIP: Final = 16
"""Pixels: its height."""
_MOVES: Final = 4
"""Pixels to either side."""
_FACE: Final = (slice(65, 155), slice(238, 316))
"""Where the face is in each frame, and where nothing else but the face and its margin is."""
_AROUND: Final = (slice(0, 220), slice(150, 410))


def missing() -> str | None:
    """Say what has to be installed for it, or return None."""
    return None if find_spec("cv2") and find_spec("skimage") else "the extra vision, and the group vision"


@cache
def _photograph() -> Any:
    """Return the astronaut of scikit-image, 640 x 480."""
    import cv2
    import skimage

    path = Path(skimage.__file__).parent / "data" / "astronaut.png"
    picture = cv2.imread(os.fspath(path))
    assert picture is not None
    return cv2.resize(picture, (640, 480), interpolation=cv2.INTER_AREA)


def _drawn(number: int) -> Any:
    import numpy

    moved = number % (4 * _MOVES)
    frame = numpy.roll(_photograph(), min(moved, 4 * _MOVES - moved) - _MOVES, axis=1)
    width = frame.shape[1] // _BITS
    for bit in range(_BITS):
        frame[-_STRIP:, bit * width : (bit + 1) * width] = 255 * (number >> bit & 1)
    return frame


def frames() -> list[bytes]:
    """Return all frames as JPEG."""
    import cv2

    return [bytes(cv2.imencode(".jpg", _drawn(n), [cv2.IMWRITE_JPEG_QUALITY, 90])[1]) for n in range(FRAMES)]


def _pixels(jpeg: bytes) -> Any:
    import cv2
    import numpy

    return cv2.imdecode(numpy.frombuffer(jpeg, numpy.uint8), cv2.IMREAD_COLOR)


def number_of(jpeg: bytes) -> int:
    """Return the number of a frame."""
    strip = _pixels(jpeg)[-_STRIP // 2]
    width = len(strip) // _BITS
    return sum((int(strip[bit * width + width // 2].mean()) > 127) << bit for bit in range(_BITS))


def difference(jpeg: bytes, number: int) -> tuple[float, float]:
    """Return by how much a frame differs from what went in: the mean of a pixel in the face, and away from it."""
    import numpy

    changed = numpy.abs(_pixels(jpeg).astype(int) - _drawn(number).astype(int))
    away = numpy.ones(changed.shape[:2], bool)
    away[_AROUND] = False
    return float(changed[_FACE].mean()), float(changed[away].mean())
