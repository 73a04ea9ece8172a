"""The step text: title, content and language of pages as they are, without what surrounds the content."""

import time
from typing import Any

import pytest

from service.work.builtin.text import Text, text
from service.work.step import Body, StepFailed

LONG = "This sentence is long enough to be a part of what somebody has written down here."


def read(page: str | bytes, kind: str | None = "text/html; charset=utf-8") -> dict[str, Any]:
    data = page.encode() if isinstance(page, str) else page
    return text(Body(memoryview(data), kind, "http://a.example/"), Text()).fields


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (f"<nav>Home</nav><article><h1>A</h1><p>{LONG}</p></article><footer>(c)</footer>", f"A\n{LONG}"),
        (f"<header>Site</header><main><p>one</p><p>two</p></main><div><p>{LONG}</p></div>", "one\ntwo"),
        (
            f"<div class=side><a href=/>{LONG}</a></div><div><p>{LONG}</p><p>b <b>c</b><i>d</i></p></div>",
            f"{LONG}\nb cd",
        ),
        (f"<div><ul><li><a href=/1>{LONG}</a><li><a href=/2>{LONG}</a></ul></div><div><p>{LONG}</p></div>", LONG),
        (f"<p>{LONG}<br>next<script>no()</script><p hidden>hidden<p aria-hidden=true>h", f"{LONG}\nnext"),
        (f"<article><header>By A</header><p>{LONG}</p><aside>more</aside></article>", f"By A\n{LONG}"),
        (f"<article><pre>a\n  b\n</pre><p>{LONG}</p></article>", f"a\n  b\n{LONG}"),
        (f"<div role=navigation>menu</div><div role=main><p>x</p></div><p>{LONG}</p>", "x"),
        (f"<div><div><p>{LONG}</p></div></div>" * 3, "\n".join([LONG] * 3)),
        (f"<blockquote><p>{LONG}<p>{LONG}</blockquote><p>{LONG}", "\n".join([LONG] * 3)),
        (f"<div style='color:red; display: none'><p>{LONG}{LONG}</div><div><p>{LONG}</div>", LONG),
        (f"<form><div><p>{LONG}</p><p>next</p><button>Go</button></div></form><p>(c)", f"{LONG}\nnext"),
        (f"<form>Your address <input></form><p>{LONG}<p>next", f"{LONG}\nnext"),
        (f"<article></article><main> </main><div><p>{LONG}</div>", LONG),
        ("<p>short</p>", "short"),
        ("<table><tr><td>a<td>b</table>", "a\nb"),
        ("just text, and no markup at all", "just text, and no markup at all"),
    ],
)
def test_the_content_is_found(page: str, found: str) -> None:
    assert read(page)["text"] == found


@pytest.mark.parametrize(
    ("page", "title", "language"),
    [
        ("<html lang=de><title> A \n b </title><h1>x</h1>", "A b", "de"),
        ("<html xml:lang='en-GB'><h1>An <b>h1</b></h1>", "An h1", "en-GB"),
        ("<meta http-equiv=Content-Language content='fr, en'><title></title>x", None, "fr"),
        ("<html lang=''><p>x", None, None),
    ],
)
def test_title_and_language_are_as_declared(page: str, title: str | None, language: str | None) -> None:
    found = read(page)
    assert (found["title"], found["language"]) == (title, language)


def test_xhtml_and_other_encodings_are_read() -> None:
    page = f"<html xmlns='http://www.w3.org/1999/xhtml' xml:lang='it'><body><article><p>{LONG}</p></article></body></html>"
    assert read(page, "application/xhtml+xml") == {"title": None, "text": LONG, "language": "it"}
    assert read("<title>ä</title><p>ö".encode("latin-1"), "text/html; charset=latin1")["text"] == "ö"


@pytest.mark.parametrize(
    ("page", "kind", "says"),
    [
        (b"\x89PNG", "image/png", "image/png and not a page"),
        (b"{}", "application/json", "application/json and not a page"),
        (b"<rss><channel/></rss>", "application/xml", "XML and not a page"),
        (b"", "text/html", "empty"),
        (b"<div>" * 3000, "text/html", "2,000 elements"),
    ],
)
def test_what_is_not_a_page_fails(page: bytes, kind: str, says: str) -> None:
    with pytest.raises(StepFailed, match=says):
        read(page, kind)


@pytest.mark.parametrize(
    "page",
    ["<div>" * 1900 + f"<p>{LONG}" * 200, f"<p>{LONG}" * 10_000, "<a href=/>x</a>" * 50_000, "<b>" * 1900 + "x" * 100_000,
     "<article>" * 1900 + "x", "<header>" * 1500 + f"<p>{LONG}"],
)  # fmt: skip
def test_large_and_deep_pages_take_seconds_at_most(page: str) -> None:
    began = time.process_time()
    read(page)
    assert time.process_time() - began < 10
