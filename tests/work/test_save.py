"""``save``: the body as it is."""

from service.work.builtin.save import Save, save
from service.work.step import Body


def test_save_hands_the_body_on_with_its_type() -> None:
    product = save(Body(b"abc", "image/png", ""), Save()).product
    assert product is not None
    assert (product.data, product.type, product.described) == (b"abc", "image/png", True)
