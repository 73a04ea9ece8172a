r"""HTML and XML: parsed within bounds, and searched with CSS selectors.

In XML a name in a selector is the name as it is written in the document: ``link`` is not ``atom:link``, which is
``atom|link`` or ``atom\:link``; ``*|link`` is both. Upper and lower case differ there.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import cssselect
from cssselect.parser import Element
from lxml import etree

from service.upstream.content.charset import read_text
from service.upstream.content.element_text import LONGEST, html_text, xml_text
from service.upstream.content.media_types import media_type
from service.upstream.content.select_failed import SelectFailed
from service.upstream.content.xml_mending import mended

__all__ = ["Document", "parse", "texts_of"]

_XHTML: Final = "{http://www.w3.org/1999/xhtml}"
_START: Final = 4096
"""Characters within which the first element decides whether a document is XML."""
_ROOT: Final = re.compile(
    r"(?:\s++|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*+(?:\[.*?\]\s*+)?+>)*+<((?:[\w.-]++:)?+([\w.-]++))",
    re.DOTALL | re.IGNORECASE,
)
_XML_ROOTS: Final = frozenset(("rss", "feed", "rdf", "svg", "opml", "urlset", "sitemapindex"))
_DEEP, _LOOP = 114, 89
"""libxml2's errors for what costs too much."""


@dataclass(frozen=True, slots=True)
class Document:
    """A page or an XML document that was parsed."""

    root: Any
    xml: bool
    xhtml: bool
    """Whether it is XML and a page all the same."""

    def find(self, selector: str) -> list[Any]:
        """Return the elements that match, in order."""
        if self.xml:
            return _find_xml(self.root, selector)
        return _find(self.root, selector, cssselect.HTMLTranslator(), {})

    def texts(self, elements: Iterable[Any]) -> list[str]:
        """Return the text of each element; raises SelectFailed where they have too much of it."""
        text_of = xml_text if self.xml and not self.xhtml else html_text
        texts: list[str] = []
        room = LONGEST
        for element in elements:
            texts.append(text_of(element, room))
            room -= len(texts[-1])
        return texts


def parse(body: bytes, content_type: str | None, *, cut: bool = False) -> Document:
    """Parse a body as what its type and its beginning say it is; raises SelectFailed."""
    text = _read(body, content_type, cut)
    is_xml = _is_xml(text, content_type)
    root = _parse_xml(text) if is_xml else _parse_html(text)
    return Document(root, is_xml, is_xml and root.tag.startswith(_XHTML))


def texts_of(body: bytes, selector: str, content_type: str | None, *, cut: bool) -> str:
    """Return the texts of the elements that match, one a line; raises SelectFailed."""
    document = parse(body, content_type, cut=cut)
    found = document.find(selector)
    if cut and (not found or not _unfinished(document.root).isdisjoint(found)):
        raise SelectFailed(
            f"nothing complete in the first {len(body):,} bytes; the body is larger and was cut", "too_large"
        )
    if not found:
        raise SelectFailed("no element matches")
    return "\n".join(document.texts(found))


def _find(root: Any, selector: str, translator: Any, names: dict[str, str]) -> list[Any]:
    try:
        found: list[Any] = root.xpath(translator.css_to_xpath(selector), namespaces=names)
    except (etree.XPathError, cssselect.SelectorError):
        return []  # a prefix that the document does not have
    return found


def _find_xml(root: Any, selector: str) -> list[Any]:
    """Find elements by their names as they are written, or else without the prefix that the first one has, too."""
    prefix = root.prefix
    names = _plain_names(root)
    found = _find(root, selector, _Names(names), names)
    if not found and prefix is not None:
        for element in root.iter(etree.Element):
            if element.prefix == prefix:
                element.tag = element.tag.rpartition("}")[2]
        found = _find(root, selector, _Names(names), names)
    return found


class _Names(cssselect.GenericTranslator):
    """Knows the prefixes of a document; others may stand there all the same, in feeds that do not declare them."""

    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def xpath_element(self, selector: Any) -> Any:
        if selector.namespace in (None, "*", *self._names) or not selector.element:
            return super().xpath_element(selector)
        return super().xpath_element(Element(None, f"{selector.namespace}:{selector.element}"))


def _read(body: bytes, content_type: str | None, cut: bool) -> str:
    kind = media_type(content_type)
    known = kind.html or kind.xml
    declared = not known and body[:_START].lstrip(b"\xef\xbb\xbf\t\n\r ").startswith(b"<?xml")
    read = read_text(body, content_type, syntax=None if known else "xml" if declared else "html", cut=cut)
    if read.encoding == "replacement":
        raise SelectFailed(f"the charset {kind.charset} is refused: it can hide markup")
    return read.text.replace("\0", "\ufffd")


def _is_xml(text: str, content_type: str | None) -> bool:
    """Decide as the Content-Type says; feeds and pictures are XML under any, as many come as text/html."""
    kind = media_type(content_type)
    if kind.xml:
        return True
    start = text[:_START]
    root = _ROOT.match(start)
    name = root[2].lower() if root else ""
    return name in _XML_ROOTS or (start.lstrip().startswith("<?xml") and not kind.html and name != "html")


def _parse_html(text: str) -> Any:
    parser = etree.HTMLParser(
        encoding="utf-8", no_network=True, huge_tree=True, remove_comments=True, remove_pis=True
    )
    root = _parsed(text, parser, "HTML")
    if any(error.type == _DEEP for error in parser.error_log):
        raise SelectFailed("the page has more than 2,000 elements nested in each other")
    return root


def _parse_xml(text: str) -> Any:
    """Parse a well-formed text as it is, and mend any other first: many feeds have a bare ``&``."""
    for attempt in (text, mended(text)):
        parser = _xml_parser(recover=False)
        try:
            return etree.fromstring(attempt.encode(), parser)
        except etree.XMLSyntaxError:
            _check_cost(parser)
    parser = _xml_parser(recover=True)
    root = _parsed(mended(text), parser, "XML")
    _check_cost(parser)
    return root


def _xml_parser(*, recover: bool) -> Any:
    return etree.XMLParser(
        encoding="utf-8", recover=recover, no_network=True, resolve_entities="internal", load_dtd=False,
        remove_comments=True, remove_pis=True, huge_tree=False,
    )  # fmt: skip


def _parsed(text: str, parser: Any, kind: str) -> Any:
    try:
        root = etree.fromstring(text.encode(), parser) if text.strip() else None
    except etree.XMLSyntaxError:
        root = None
    if root is None:
        raise SelectFailed(f"the body is not {kind}" if text.strip() else "the body is empty")
    return root


def _check_cost(parser: Any) -> None:
    for error in parser.error_log:
        if error.type in (_DEEP, _LOOP):
            raise SelectFailed(f"the XML costs too much to read ({error.message.partition(',')[0]})")


def _plain_names(root: Any) -> dict[str, str]:
    """Have elements without a prefix be known by their names alone; return the prefixes and their namespaces."""
    names: dict[str, str] = {}
    for element in root.iter(etree.Element):
        namespace, _, name = element.tag.rpartition("}")
        if element.prefix is not None:
            names.setdefault(element.prefix, namespace[1:])
        elif namespace:
            element.tag = name
    return names


def _unfinished(root: Any) -> set[Any]:
    """Return the elements that may have been open where the body was cut."""
    found = set()
    while root is not None:
        found.add(root)
        root = root[-1] if len(root) else None
    return found
