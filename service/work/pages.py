"""A body as a page of HTML, for steps that read one; called in worker processes alone."""

from typing import TYPE_CHECKING

from service.upstream.content.select_failed import SelectFailed
from service.work.step import Body, StepFailed

if TYPE_CHECKING:
    from service.upstream.content.markup import Document

__all__ = ["page_of"]


def page_of(body: Body) -> "Document":
    """Return the page; raise StepFailed for a body that cannot be parsed, and for XML that is not XHTML."""
    from service.upstream.content.markup import parse  # lxml is for the worker

    try:
        page = parse(bytes(body.data), body.type)
    except SelectFailed as error:
        raise StepFailed(str(error)) from None
    if page.xml and not page.xhtml:
        raise StepFailed("the body is XML and not a page")
    return page
