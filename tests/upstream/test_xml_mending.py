"""Feeds that are not well-formed: nothing of their text is lost, and no character that XML forbids is left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from service.upstream.content.markup import texts_of
from service.upstream.content.xml_mending import mended


def select(title: str, selector: str = "title, link", declared: str = "") -> str:
    feed = f"{declared}<rss><item><title>{title}</title><link>http://a/?b&amp;c</link></item></rss>"
    return texts_of(feed.encode("utf-8", "surrogatepass"), selector, "application/rss+xml", cut=False)


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("a \x0b &amp; b", "a \ufffd & b"),
        ("a \ufffe &lt; b", "a \ufffd < b"),
        ("a &#11; &amp; b", "a \ufffd & b"),
        ("a &#0; &quot;b&quot;", 'a \ufffd "b"'),
        ("a &#xD83D;&#xDE00; &amp; b", "a 😀 & b"),
        ("a &#xD83D; &amp; b", "a \ufffd & b"),
        ("a &#55357;&#56832;&#38; b", "a 😀& b"),
        ("a &#x110000; &amp; b", "a \ufffd & b"),
        ("a &#" + "9" * 5000 + "; &amp; b", "a \ufffd & b"),
        ("a &#" + "0" * 5000 + "38; & b", "a & & b"),
        ("a &# &#; &#x; &amp; b", "a &# &#; &#x; & b"),
        ("a < b &amp; c <3", "a < b & c <3"),
        ("a ]]> b &amp; c", "a ]]> b & c"),
        ("&AMP; &LT; &eacute; &nosuch; &amp; &", "& < é &nosuch; & &"),
        ("a <b>b</i> &amp; &apos;c&apos;", "a b & 'c'"),
        ("<![CDATA[a & b \x0b &amp;]]>", "a & b \ufffd &amp;"),
        ("a<!-- & < --> &amp; <?x & ?>b &", "a & b &"),
    ],
)
def test_what_is_not_well_formed_loses_nothing_of_its_text(title: str, text: str) -> None:
    assert select(title) == f"{text}\nhttp://a/?b&c"


def test_entities_of_the_document_are_left_to_the_parser() -> None:
    declared = "<!DOCTYPE rss [<!ENTITY e '1 &#38;#38; 2'>]>"
    assert select("&e; \x0b &#xD83D;&#xDE00;", "title", declared) == "1 & 2 \ufffd 😀"


@given(st.text(st.sampled_from("a&#x1;<>]!-?[CDATA \x0b\ufffe\ud83d") | st.characters(), max_size=60))
def test_text_that_is_not_markup_can_be_parsed(text: str) -> None:
    text = text.encode("utf-8", "replace").decode().replace("\0", "").replace("<", "< ")
    root = etree.fromstring(f"<a>{mended(text)}</a>".encode())
    assert not len(root)
