"""``select``: the texts of the elements that a CSS selector finds, or the value that a JSON Pointer leads to."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import orjson

from service.upstream.content.charset import read_text
from service.upstream.content.json_pointer import value_at
from service.upstream.content.select_failed import NothingThere, SelectFailed
from service.upstream.content.selection import check_select
from service.work.step import Body, Made, StepFailed, check_size, step

__all__ = ["Select", "select"]


class Select(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to select: exactly one of ``css`` and ``pointer``."""

    css: str | None = None
    pointer: str | None = None
    html: bool = False
    """Markup in the place of texts; with ``css`` alone."""

    def __post_init__(self) -> None:
        """Raise ValueError, which clients see, for what does not fit."""
        if (self.css is None) == (self.pointer is None):
            raise ValueError("give one of css and pointer")
        if self.pointer is not None and self.html:
            raise ValueError("html: goes with css alone")
        if self.pointer and not self.pointer.startswith("/"):
            raise ValueError("pointer: begins with /, or is empty for the whole document")
        if self.css is not None and self.css.lstrip()[:1] in ("", "/"):
            raise ValueError("css: is not a CSS selector")
        given = self.css or self.pointer
        if given and (wrong := check_select(given)):
            raise ValueError(f"{'css' if self.pointer is None else 'pointer'}: {wrong}")


@step("select", Select, runs="process")
def select(body: Body, parameters: Select) -> Made:
    """Return all that is found, in order; nothing found is an empty list."""
    from service.upstream.content.markup import parse  # lxml is for the worker

    data = bytes(body.data)
    try:
        if parameters.css is None:
            return Made({"matches": _value(data, body.type, parameters.pointer or "")})
        page = parse(data, body.type)
        found = page.find(parameters.css)
        return Made({"matches": list(_markup(found, page.xml)) if parameters.html else page.texts(found)})
    except SelectFailed as error:
        raise StepFailed(str(error)) from None


def _value(data: bytes, content_type: str | None, pointer: str) -> list[Any]:
    text = read_text(data, content_type, syntax="json").text
    try:
        return [orjson.Fragment(value_at(text, pointer))]
    except NothingThere:
        return []


def _markup(elements: Iterable[Any], xml: bool) -> Iterator[str]:
    """Yield the markup of each element; raises StepFailed for too much: each has that of the elements in it."""
    from lxml import etree

    size = 0
    for element in elements:
        text = etree.tostring(element, method="xml" if xml else "html", encoding="unicode", with_tail=False)
        size += len(text)
        check_size(size)
        yield text
