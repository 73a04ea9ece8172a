"""The stage of a pipeline that computes on the loop, for the bench alone: it shows why nothing else does."""

from service.work.builtin.thumbnail import Thumbnail, thumbnail
from service.work.step import Body

__all__ = ["smaller"]


def smaller(data: bytes) -> bytes:
    """Return a picture in 800 x 600, as the step makes it."""
    product = thumbnail(Body(data, "image/jpeg", ""), Thumbnail(800, 600)).product
    assert product is not None
    return bytes(product.data)
