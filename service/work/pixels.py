"""A picture's pixels as every viewer shows them: eight bits per channel, in sRGB, and nothing else.

Everything else in a file is left out: comments may be private, and a profile of two megabytes would be many times
the size of the thumbnail.
"""

import io
from math import isfinite
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["eight_bits", "plain"]

_SRGB: Final = ("sRGB", "c2")
"""How the descriptions of sRGB profiles begin; the second is a small profile that is widely used."""
_PROFILED: Final = {"L": "RGB", "RGB": "RGB", "CMYK": "RGB", "RGBA": "RGBA"}
"""The mode of a picture after its colours were converted, by the mode before."""


def eight_bits(picture: "Image", depth: int = 8) -> "Image":
    """Return a picture whose colours one can compute with: no palette, eight bits per channel.

    ``depth`` is how many a PNG has.

    Of 16 bits the upper eight are used. Wider values and fractions have no agreed white: they are scaled from the
    darkest value to the brightest.
    """
    mode = picture.mode
    _scale_transparency(picture, depth)
    if mode.startswith("I;16"):
        picture = picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    elif mode in ("I", "F"):
        low, high = cast("tuple[float, float]", picture.getextrema())
        scale = 255 / (high - low) if high > low and isfinite(high - low) else 0
        picture = picture.point(lambda value: value * scale + -low * scale).convert("L")
    if mode in ("P", "1", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    return picture


def _scale_transparency(picture: "Image", depth: int) -> None:
    """Scale the transparent colour to eight bits, which Pillow's pixels have: a PNG gives it in its own depth."""
    colour = picture.info.get("transparency")
    if depth == 8 or picture.mode == "P" or colour is None:
        return  # in a palette it is an index, or bytes
    if isinstance(colour, tuple):
        # Colours have 8 or 16 bits a channel: these have 16.
        picture.info["transparency"] = tuple(channel >> 8 for channel in colour)
    else:
        picture.info["transparency"] = min(255, 255 * colour // ((1 << depth) - 1))  # with one bit it may be 255


def plain(picture: "Image") -> "Image":
    """Return a picture in sRGB, with nothing but its pixels."""
    profile = picture.info.get("icc_profile")
    if profile and picture.mode in _PROFILED:
        picture = _in_srgb(picture, profile)
    picture.info = {}
    return picture


def _in_srgb(picture: "Image", profile: bytes) -> "Image":
    try:
        from PIL import ImageCms

        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if ImageCms.getProfileDescription(given).startswith(_SRGB):
            return picture
        wanted = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, given, wanted, outputMode=_PROFILED[picture.mode]) or picture
    except Exception:
        # The profile is damaged, or meant for other kinds of pictures; the picture itself is not damaged.
        return picture
