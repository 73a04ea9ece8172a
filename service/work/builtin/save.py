"""``save``: the body as a blob."""

import msgspec

from service.work.step import Body, Made, Product, step

__all__ = ["Save", "save"]


class Save(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """It has no parameters."""


@step("save", Save, runs="thread", needs_blobs=True)
def save(body: Body, parameters: Save) -> Made:
    """Return the body as it is; what keeps products says where it went."""
    return Made(product=Product(body.data, body.type, described=True))
