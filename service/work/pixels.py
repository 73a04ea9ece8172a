"""A picture's pixels as every viewer shows them: eight bits a channel, in sRGB, and nothing beside them.

Of what else is in a file nothing is passed on: comments may be private, and a profile of two megabytes would be
many times the size of what is written.
"""

import io
from math import isfinite
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["eight_bits", "plain"]

_SRGB: Final = ("sRGB", "c2")
"""How descriptions begin of profiles that mean sRGB; the second is a small one that is widely used."""
_PROFILED: Final = {"L": "RGB", "RGB": "RGB", "CMYK": "RGB", "RGBA": "RGBA"}
"""The mode in which a picture is after its colours were converted."""


def eight_bits(picture: "Image") -> "Image":
    """Return a picture whose colours one can compute with: no palette, eight bits a channel.

    Of 16 bits the upper eight count. What has more of them, or fractions, has no white that is agreed upon: it is
    stretched from its darkest value to its brightest.
    """
    mode = picture.mode
    if mode.startswith("I;16"):
        picture = picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    elif mode in ("I", "F"):
        low, high = cast("tuple[float, float]", picture.getextrema())
        scale = 255 / (high - low) if high > low and isfinite(high - low) else 0
        picture = picture.point(lambda value: value * scale + -low * scale).convert("L")
    elif mode in ("P", "1", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
    return picture


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
        # The profile is damaged, or for other pictures than this one; the picture is not damaged.
        return picture
