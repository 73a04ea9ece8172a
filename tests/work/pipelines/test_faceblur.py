"""The faces of photographs, found and blurred; skipped where the extra ``vision`` or the photograph is missing."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from service.core.owner import Owner
from service.work.pipelines import faceblur
from service.work.pipelines.item import ItemFailed
from service.work.pipelines.pipeline import Item
from service.work.pipelines.pipelines import Frame, Pipelines

cv2 = pytest.importorskip("cv2", reason="the extra vision is not installed")
numpy = pytest.importorskip("numpy", reason="the extra vision is not installed")


@pytest.fixture(scope="module")
def photograph() -> Any:
    """Return the astronaut of scikit-image, 640 x 480; there is one face."""
    skimage = pytest.importorskip("skimage", reason="scikit-image, of the group vision, is not installed")
    path = Path(skimage.__file__).parent / "data" / "astronaut.png"
    return cv2.resize(cv2.imread(str(path)), (640, 480), interpolation=cv2.INTER_AREA)


def jpeg(pixels: Any) -> bytes:
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


FACE = (slice(60, 160), slice(230, 325))
"""Where it is."""


def difference(before: Any, after: Any) -> tuple[float, float]:
    """Return the mean difference of a pixel, in the face and far from it."""
    changed = numpy.abs(before.astype(int) - after.astype(int))
    outside = numpy.ones(changed.shape[:2], bool)
    outside[0:220, 150:410] = False
    return float(changed[FACE].mean()), float(changed[outside].mean())


def blurred(data: bytes) -> tuple[Any, int]:
    found = faceblur.detect(faceblur.decode(data))
    return faceblur.decode(faceblur.encode(faceblur.blur(found.value))), found.facts["faces"]


def test_the_face_is_found_and_blurred_and_all_else_stays(photograph: Any) -> None:
    after, faces = blurred(jpeg(photograph))
    inside, outside = difference(photograph, after)
    assert faces == 1
    assert inside > 12
    assert outside < 4
    assert faceblur.detect(after).facts["faces"] == 0


def test_a_picture_without_a_face_stays_as_it_is() -> None:
    pixels = numpy.full((480, 640, 3), 127, numpy.uint8)
    after, faces = blurred(jpeg(pixels))
    assert faces == 0
    assert difference(pixels, after)[0] < 2


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_faces_are_found_in_pictures_of_other_sizes(photograph: Any, scale: float) -> None:
    other = cv2.resize(photograph, None, fx=scale, fy=scale)
    after, faces = blurred(jpeg(other))
    inside, _ = difference(photograph, cv2.resize(after, (640, 480)))
    assert faces == 1
    assert inside > 10


@pytest.mark.parametrize(
    "data",
    [b"", b"not a picture", b"\xff\xd8\xff\xe0" + bytes(100), b"\x89PNG\r\n\x1a\n" + bytes(100), b"GIF89a"],
)
def test_what_is_not_a_picture_fails_alone(data: bytes) -> None:
    with pytest.raises(ItemFailed):
        faceblur.decode(data)


@pytest.mark.parametrize("size", [(1, 1), (10, 20_000), (20_000, 10), (1, 60_000)])
def test_pictures_of_any_shape_come_back(size: tuple[int, int]) -> None:
    after, faces = blurred(bytes(cv2.imencode(".png", numpy.zeros(size, numpy.uint8))[1]))
    assert (after.shape[:2], faces) == (size, 0)


def test_a_picture_that_jpeg_cannot_hold_says_so() -> None:
    with pytest.raises(ItemFailed, match="at most 65,500 pixels a side"):
        blurred(bytes(cv2.imencode(".png", numpy.zeros((1, 70_000), numpy.uint8))[1]))


def test_damaged_pictures_write_nothing_to_standard_error_and_show_nothing_of_others(
    photograph: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """A decoder that keeps its buffers would fill what is missing with another client's picture."""
    noise = jpeg(numpy.random.default_rng(1).integers(0, 60, (480, 640, 3)).astype(numpy.uint8))
    cut = noise[: len(noise) // 3]
    for damaged in (cut + b"\xff\xd9", cut + bytes(len(cut)), noise[:700] + b"\xff" * 99 + noise[700:]):
        for _ in range(4):
            faceblur.decode(jpeg(photograph))
            try:
                pixels = faceblur.decode(damaged)
            except ItemFailed:
                break
            assert (numpy.abs(pixels.astype(int) - photograph.astype(int)).max(axis=2) < 4).mean() < 0.01
    with pytest.raises(ItemFailed):
        faceblur.decode(bytes(cv2.imencode(".png", photograph)[1])[:20_000])
    assert capfd.readouterr() == ("", "")


async def test_frames_go_through_its_processes_in_order(photograph: Any) -> None:
    pipelines = Pipelines([faceblur.declaration(2)], 256 << 20, time=60, process_memory=1 << 30)
    bomb = bytes(cv2.imencode(".png", numpy.zeros((6000, 6000), numpy.uint8))[1])
    out: list[Item[Frame]] = []

    async def deliver(item: Item[Frame]) -> None:
        out.append(item)

    try:
        async with (
            asyncio.timeout(120),
            pipelines.run(pipelines.find("faceblur"), Owner("me"), deliver, "block") as run,
        ):
            for data in (jpeg(photograph), b"nothing", jpeg(numpy.zeros((48, 64, 3), numpy.uint8)), bomb):
                await run.put(data)
    finally:
        await pipelines.close()
    assert [item.number for item in out] == [1, 2, 3, 4]
    assert [item.value.facts for item in out] == [{"faces": 1}, {}, {"faces": 0}, {}]
    assert str(out[1].error).startswith("decode: not a picture")
    assert str(out[3].error) == "decode: the picture has more than 32,000,000 pixels"
    inside, outside = difference(photograph, faceblur.decode(out[0].value.value))
    assert inside > 12 > 4 > outside
