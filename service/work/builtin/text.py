"""``text``: what a page has to read, without its navigation, and what surrounds it.

A page is lines: the text of a block, a heading or an item. Lines count for the elements around them, by the
characters that are not links. The content is the innermost element that has most of them, and it begins at the one
that has most directly; a single ``<article>``, or else ``<main>``, is taken at its word.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from service.upstream.content.element_text import is_hidden
from service.upstream.content.media_types import media_type
from service.work.pages import page_of
from service.work.step import Body, Made, StepFailed, step

__all__ = ["Text", "text"]

_UNSEEN: Final = frozenset(
    ("script", "style", "noscript", "template", "head", "iframe", "object", "embed", "canvas", "audio", "video",
     "svg", "math", "map", "datalist", "source", "track", "link", "meta", "title", "base", "noframes", "noembed")
)  # fmt: skip
_AROUND: Final = frozenset(("nav", "aside", "footer", "button", "select", "textarea", "dialog", "menu", "search"))
_AROUND_ROLES: Final = frozenset(
    ("navigation", "banner", "contentinfo", "complementary", "search", "dialog", "menu", "menubar", "toolbar")
)
_INLINE: Final = frozenset(
    ("a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "data", "del", "dfn", "em", "font", "i",
     "img", "ins", "kbd", "label", "mark", "meter", "output", "picture", "progress", "q", "rp", "rt", "ruby", "s",
     "samp", "small", "span", "strike", "strong", "sub", "sup", "time", "tt", "u", "var", "wbr")
)  # fmt: skip
_SHORT: Final = 25
"""Characters; less is a label rather than a sentence."""
_SHARE: Final = 0.8
"""Of the text of a page, that its content has at the least."""
_MOST: Final = 4 << 20
"""Characters of the text."""


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """It has no parameters."""


class _Line(NamedTuple):
    block: Any
    """The element whose text it is."""
    text: str
    linked: int
    """Characters of it that are links."""


@step("text", Text, runs="process")
def text(body: Body, parameters: Text) -> Made:
    """Return the title, the readable text, a line for each block, and the language that the page declares."""
    root = _page(body)
    lines = _without_forms(list(_lines(root)))
    content = _declared(root)
    found = [line.text for line in lines if content is not None and _is_in(line.block, content)]
    if not found:  # one that is declared may be empty, for a script to fill
        content = _densest(lines)
        found = [line.text for line in lines if content is None or _is_in(line.block, content)]
    return Made({"title": _title(root), "text": "\n".join(found)[:_MOST], "language": _language(root)})


def _page(body: Body) -> Any:
    kind = media_type(body.type)
    if kind.essence and not (kind.html or kind.xml or kind.essence == "text/plain"):
        raise StepFailed(f"the body is {kind.essence} and not a page")
    page = page_of(body)
    for element in page.root.iter():
        element.tag = element.tag.rpartition("}")[2].lower()  # of XHTML
    return page.root


def _lines(root: Any) -> Iterator[_Line]:
    """Yield the lines of a page, without what is not seen or surrounds the content."""
    from lxml import etree

    walk = etree.iterwalk(root, events=("start", "end"))
    blocks, linked, pieces = [root], 0, _Pieces()
    for event, node in walk:
        inline = node.tag in _INLINE
        if event == "start":
            if _is_aside(node):
                walk.skip_subtree()
                continue
            if not inline:
                yield from pieces.line(blocks[-1])
                blocks.append(node)
            linked += node.tag == "a"
            pieces.add(node.text, linked)
            continue
        if not _is_aside(node):
            if not inline:
                yield from pieces.line(blocks.pop())
            linked -= node.tag == "a"
        if node is not root:
            pieces.add(node.tail, linked)


def _without_forms(lines: list[_Line]) -> list[_Line]:
    """Leave out what is in forms, unless that is most of the page: pages of ASP.NET are one form."""
    outside = [line for line in lines if all(above.tag != "form" for above in _with_ancestors(line.block))]
    return outside if 2 * _length(outside) >= _length(lines) else lines


def _length(lines: list[_Line]) -> int:
    return sum(len(line.text) for line in lines)


def _with_ancestors(block: Any) -> Iterator[Any]:
    yield block
    yield from block.iterancestors()


class _Pieces:
    """A line that is being put together."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._linked = 0

    def add(self, piece: str | None, linked: int) -> None:
        if piece:
            self._pieces.append(piece)
            self._linked += len(piece) if linked else 0

    def line(self, block: Any) -> Iterator[_Line]:
        """Yield the line, if there is one, and begin another."""
        joined = "".join(self._pieces)
        kept = joined.strip("\n") if block.tag == "pre" else " ".join(joined.split())
        if kept.strip():
            yield _Line(block, kept, self._linked)
        self._pieces, self._linked = [], 0


def _is_aside(node: Any) -> bool:
    if node.tag in _UNSEEN or node.tag in _AROUND or is_hidden(node):
        return True
    if node.get("aria-hidden") == "true" or (node.get("role") or "").lower() in _AROUND_ROLES:
        return True
    # Of an article the header belongs to it.
    return node.tag == "header" and all(above.tag not in ("article", "main") for above in node.iterancestors())


def _declared(root: Any) -> Any | None:
    """Return the element that says that it is the content, if there is one."""
    articles = [node for node in root.iter("article") if not any(True for _ in node.iterancestors("article"))]
    if len(articles) == 1:
        return articles[0]
    return next((node for node in root.iter() if node.tag == "main" or node.get("role") == "main"), None)


def _densest(lines: list[_Line]) -> Any | None:
    """Return the element with most of the text, or None where no line is long enough to tell."""
    score: Counter[Any] = Counter()
    within: Counter[Any] = Counter()
    total = 0
    for line in lines:
        weight = len(line.text) - 2 * line.linked
        if weight < _SHORT:
            continue
        total += weight
        within[line.block] += weight
        for above in line.block.iterancestors():
            within[above] += weight
        parent = line.block.getparent()
        if parent is not None:
            score[parent] += 2 * weight
            if (above := parent.getparent()) is not None:
                score[above] += weight
    found = max(score, key=score.__getitem__, default=None)
    # Where each paragraph is in boxes of its own, none of these is the content.
    while found is not None and within[found] < _SHARE * total and found.getparent() is not None:
        found = found.getparent()
    return found


def _is_in(block: Any, content: Any) -> bool:
    return any(above is content for above in _with_ancestors(block))


def _title(root: Any) -> str | None:
    for name in ("title", "h1"):
        for node in root.iter(name):
            if found := " ".join("".join(node.itertext()).split()):
                return found
    return None


def _language(root: Any) -> str | None:
    declared = root.get("lang") or root.get("{http://www.w3.org/XML/1998/namespace}lang") or root.get("xml:lang")
    if declared and declared.strip():
        return str(declared.strip())
    for node in root.iter("meta"):
        if (node.get("http-equiv") or "").lower() == "content-language" and (said := node.get("content")):
            return str(said.split(",")[0].strip()) or None
    return None
