"""The text of an element as its reader sees it, on one line.

What stands in blocks, cells, list items or after a ``<br>`` is apart, what stands in inline elements is not;
scripts, styles, templates, comments and what is hidden are not seen. ``<pre>`` and ``<textarea>`` keep their lines.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from service.upstream.content.select_failed import SelectFailed

__all__ = ["LONGEST", "html_text", "is_hidden", "xml_text"]

LONGEST: Final = 4 << 20
"""Characters that a selection may have."""
_UNSEEN: Final = frozenset(
    ("area", "audio", "base", "canvas", "col", "colgroup", "datalist", "embed", "frame", "head",
     "iframe", "link", "meta", "noembed", "noframes", "noscript", "param", "rp", "script", "source", "style",
     "template", "title", "track", "video")
)  # fmt: skip
_BLOCKS: Final = frozenset(
    ("address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "details", "dialog",
     "dir", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "frameset", "h1", "h2", "h3",
     "h4", "h5", "h6", "header", "hgroup", "hr", "html", "legend", "li", "listing", "main", "menu", "nav", "ol",
     "optgroup", "option", "p", "plaintext", "pre", "search", "section", "select", "slot", "summary", "table",
     "tbody", "td", "textarea", "tfoot", "th", "thead", "tr", "ul", "xmp")
)  # fmt: skip
_AS_WRITTEN: Final = frozenset(("pre", "textarea", "listing", "xmp", "plaintext", "script", "style"))
_NOT_DISPLAYED: Final = re.compile(r"(?:^|;)\s*display\s*:\s*none\b", re.IGNORECASE)
# Blanks that are kept pass for characters that no text has until the others are gone.
_KEEP: Final = str.maketrans({" ": "\ufdd0", "\t": "\ufdd1", "\n": "\ufdd2"})
_KEPT: Final = str.maketrans({"\ufdd0": " ", "\ufdd1": "\t", "\ufdd2": "\n"})


def html_text(element: Any, room: int = LONGEST) -> str:
    """Return the visible text of an element of HTML; the element itself is read even if it is a script."""
    pieces = _Pieces(room)
    kept = 0
    for node, begins in _walk(element, _is_unseen):
        as_written = node.tag in _AS_WRITTEN
        if begins:
            pieces.gap(node.tag in _BLOCKS)
            kept += as_written
            pieces.add(node.text, kept)
        else:
            kept -= as_written
            pieces.gap(node.tag in _BLOCKS)
            if node is not element:
                pieces.add(node.tail, kept)
    return pieces.text()


def xml_text(element: Any, room: int = LONGEST) -> str:
    """Return the text of an element of XML: children are apart unless there is text between them.

    What has neither text nor children, as Atom's ``link`` and RSS's ``enclosure``, is read by its address.
    """
    if not len(element) and not (element.text or "").strip():
        return next(
            (" ".join(element.get(name).split()) for name in ("href", "url", "src") if element.get(name)), ""
        )
    pieces = _Pieces(room)
    apart: dict[Any, bool] = {}
    for node, begins in _walk(element, _is_not_element):
        parent = node.getparent() if node is not element else None
        gap = parent is not None and apart[parent]
        pieces.gap(gap)
        if begins:
            apart[node] = not _is_mixed(node)
            pieces.add(node.text, 0)
        elif parent is not None:
            apart.pop(node, None)
            pieces.add(node.tail, 0)
    return pieces.text()


class _Pieces:
    """Text that is being put together, up to a bound."""

    def __init__(self, room: int) -> None:
        self._pieces: list[str] = []
        self._room = room

    def gap(self, needed: bool) -> None:
        if needed:
            self._pieces.append(" ")

    def add(self, text: str | None, kept: int) -> None:
        if text:
            self._room -= len(text)
            if self._room < 0:
                raise SelectFailed(f"what is selected has more than {LONGEST:,} characters", "too_large")
            self._pieces.append(text.translate(_KEEP) if kept else text)

    def text(self) -> str:
        return " ".join("".join(self._pieces).split()).translate(_KEPT).strip()


def _walk(element: Any, passed_over: Any) -> Iterator[tuple[Any, bool]]:
    """Yield every element twice, as it begins and as it ends; of skipped ones only the text that follows them."""
    yield element, True
    stack = [(element, iter(element))]
    while stack:
        node, children = stack[-1]
        child = next(children, None)
        if child is None:
            stack.pop()
            yield node, False
        elif passed_over(child):
            yield _Tail(child), False
        else:
            yield child, True
            stack.append((child, iter(child)))


class _Tail:
    """Stands for a skipped element: only the text that follows it is read."""

    tag = ""

    def __init__(self, element: Any) -> None:
        self.tail = element.tail
        self._element = element

    def getparent(self) -> Any:
        return self._element.getparent()


def _is_not_element(node: Any) -> bool:
    return not isinstance(node.tag, str)


def _is_unseen(node: Any) -> bool:
    return not isinstance(node.tag, str) or node.tag in _UNSEEN or is_hidden(node)


def is_hidden(node: Any) -> bool:
    """Say whether an element says of itself that it is not displayed."""
    if node.get("hidden") is not None:
        return True
    style = node.get("style")
    return style is not None and _NOT_DISPLAYED.search(style) is not None


def _is_mixed(node: Any) -> bool:
    """Say whether an element has text between its children."""
    return bool((node.text or "").strip()) or any((child.tail or "").strip() for child in node)
