"""The pipeline that is shipped: finds the faces in a picture, blurs them, and gives the picture back as JPEG.

It needs the extra ``vision`` (OpenCV below 5, whose package has the cascade file that finds faces).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any, Final

from service.work.pipelines.declaration import PipelineDeclaration, StageDeclaration
from service.work.pipelines.item import ItemFailed, Output

__all__ = ["MISSING", "NAME", "blur", "declaration", "decode", "detect", "encode", "installed"]

NAME: Final = "faceblur"
MISSING: Final = "it needs the extra vision: install sluice[vision]"
_MOST_PIXELS: Final = 32_000_000
"""Of a picture: 96 MB when it is decoded."""
_WIDTH: Final = 480
"""Pixels of the picture in which faces are looked for: a larger one is looked at in this size."""
_SMALLEST: Final = 1 / 16
"""The smallest face, as a part of the picture's shorter side."""
_MARGIN: Final = 0.15
"""What is blurred around a face, as a part of its size: the cascade leaves chin and hair out."""
_QUALITY: Final = 85

Pixels = Any
"""An array of OpenCV's."""
Box = tuple[int, int, int, int]
"""Left, top, width and height."""


def installed() -> bool:
    """Return whether the extra is installed."""
    return find_spec("cv2") is not None


def declaration(cores: int) -> PipelineDeclaration:
    """Return the pipeline for a machine with so many cores: finding faces takes most of the time."""
    here = "service.work.pipelines.faceblur"
    workers = {"decode": 1, "detect": max(1, min(cores, 8)), "blur": 1, "encode": 1}
    return PipelineDeclaration(
        NAME,
        [StageDeclaration(f"{here}:{stage}", workers=count, queue=2) for stage, count in workers.items()],
    )


def decode(data: bytes) -> Pixels:
    """Return the pixels of a picture, turned as its EXIF data says."""
    cv2 = _cv2()
    try:
        with _standard_error_closed():
            pixels = cv2.imdecode(_bytes(data), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        if "PIXELS" in str(error):
            raise ItemFailed(f"the picture has more than {_MOST_PIXELS:,} pixels") from error
        raise ItemFailed(f"the picture cannot be decoded ({error.err})") from error
    if pixels is None:
        raise ItemFailed("not a picture that can be decoded, such as JPEG, PNG or WebP")
    return pixels


def detect(pixels: Pixels) -> Output:
    """Find the faces; they are a fact of the item."""
    cv2 = _cv2()
    height, width = pixels.shape[:2]
    scale = min(1.0, _WIDTH / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    grey = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))
    least = max(20, int(min(grey.shape) * _SMALLEST))
    found = _cascade().detectMultiScale(grey, scaleFactor=1.15, minNeighbors=5, minSize=(least, least))
    boxes = [tuple(int(side / scale) for side in box) for box in found]
    return Output((pixels, boxes), {"faces": len(boxes)})


def blur(found: tuple[Pixels, list[Box]]) -> Pixels:
    """Make each face unrecognisable: little is left of it before it is blurred."""
    cv2 = _cv2()
    pixels, boxes = found
    pixels = pixels.copy() if boxes else pixels
    for left, top, width, height in boxes:
        dx, dy = int(width * _MARGIN), int(height * _MARGIN)
        region = pixels[max(0, top - dy) : top + height + dy, max(0, left - dx) : left + width + dx]
        coarse = cv2.resize(region, (8, 8), interpolation=cv2.INTER_AREA)
        region[:] = cv2.resize(coarse, (region.shape[1], region.shape[0]), interpolation=cv2.INTER_CUBIC)
    return pixels


def encode(pixels: Pixels) -> bytes:
    """Return the picture as JPEG."""
    cv2 = _cv2()
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise ItemFailed("the picture cannot be encoded: JPEG has at most 65,500 pixels a side")
    return bytes(data)


@cache
def _cv2() -> Any:
    """Import it where it is used: the service itself need not have it in memory."""
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(_MOST_PIXELS)  # read when it is loaded
    import cv2

    cv2.setNumThreads(1)  # the workers of a stage are its threads
    cv2.utils.logging.setLogLevel(0)  # what it cannot decode is the client's error
    return cv2


@contextmanager
def _standard_error_closed() -> Iterator[None]:
    """Have nothing written to standard error: libjpeg and libpng complain there of what a client has sent."""
    kept = os.dup(2)
    try:
        os.dup2(_nowhere(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@cache
def _nowhere() -> int:
    return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def _bytes(data: bytes) -> Any:
    import numpy

    return numpy.frombuffer(data, numpy.uint8)


@cache
def _cascade() -> Any:
    cv2 = _cv2()
    return cv2.CascadeClassifier(os.path.join(cv2.data.haarcascades, "haarcascade_frontalface_default.xml"))
