"""What the service says, as types: each form is read from its JSON, and an unknown field is refused."""

import msgspec
import pytest

from service.core import events


def test_every_name_of_the_module_is_a_type_that_knows_all_its_fields() -> None:
    for name in events.__all__:
        kind = getattr(events, name)
        assert issubclass(kind, msgspec.Struct), name
        assert kind.__struct_config__.forbid_unknown_fields, name


def test_the_tag_decides_the_type() -> None:
    tags = {getattr(events, name).__struct_config__.tag for name in ("Result", "Failed", "Done")}
    assert tags == {"result", "failed", "done"}


def test_an_unknown_field_and_a_missing_one_are_refused() -> None:
    place = {"epoch": "e", "offset": 1, "readers": 0}
    assert msgspec.convert(place, events.Published).offset == 1
    for wrong in ({**place, "more": 1}, {"epoch": "e", "offset": 1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, events.Published)
