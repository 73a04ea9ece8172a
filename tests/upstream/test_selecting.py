"""JSON Pointers, with RFC 6901's own examples, CSS selectors, and the process that bounds what they cost."""

import asyncio
import io
import os
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path

import pytest

from service.core.owner import Owner
from service.upstream.content import selection as selecting
from service.upstream.content import selection_process
from service.upstream.content.select_failed import SelectFailed
from service.upstream.content.selection import check_select, select_from
from service.upstream.content.selection_process import Selector, SelectTimeout
from tests.procfs import children

DOCUMENT = rb"""{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6,
" ": 7, "m~n": 8}"""


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/foo", b'["bar","baz"]'), ("/foo/0", b'"bar"'), ("/", b"0"), ("/a~1b", b"1"), ("/c%d", b"2"),
        ("/e^f", b"3"), ("/g|h", b"4"), ("/i\\j", b"5"), ('/k"l', b"6"), ("/ ", b"7"), ("/m~0n", b"8"),
    ],
)  # fmt: skip
def test_the_examples_of_the_rfc(pointer: str, value: bytes) -> None:
    assert check_select(pointer) is None
    assert select_from(DOCUMENT, pointer) == value


@pytest.mark.parametrize("pointer", ["/none", "/foo/2", "/foo/-", "/foo/00", "/foo/-1", "/foo/bar", "/a~1b/c"])
def test_nothing_there(pointer: str) -> None:
    with pytest.raises(SelectFailed):
        select_from(DOCUMENT, pointer)


@pytest.mark.parametrize("body", [b"<p>", b"", b"[" * 5000, b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"])
def test_bodies_that_are_not_json_or_too_deep(body: bytes) -> None:
    with pytest.raises(SelectFailed):
        select_from(body, "/a")


def test_css() -> None:
    page = b"<h1>A <b>b</b></h1><ul><li class=x>1<li>2<li class=x>3</ul>"
    assert select_from(page, "h1") == b"A b"
    assert select_from(page, "li.x") == b"1\n3"
    assert select_from("<p>\u00e4</p>".encode("latin-1"), "p")
    for nothing in (b"", b"<p>", b"\x00\xff" * 100):
        with pytest.raises(SelectFailed):
            select_from(nothing, "h1")


@pytest.mark.parametrize(
    ("body", "pointer", "value"),
    [
        # Numbers are passed on as they are written, however large or exact.
        (b'{"a": 12345678901234567890124}', "/a", b"12345678901234567890124"),
        (b'{"a": [1.10, 1e400, -0, 1E+2, 0.1000]}', "/a", b"[1.10,1e400,-0,1E+2,0.1000]"),
        (b'{"a":' + b"9" * 5000 + b"}", "/a", b"9" * 5000),
        # Of one name the last counts.
        (b'{"a": 1, "a": 2, "b": {"a": 3}}', "/a", b"2"),
        (b'{"a": {"b": 1}, "a": {}, "a": {"b": 2}}', "/a/b", b"2"),
        # Strings too are as written; blanks outside of them go.
        (b'{ "a" : "x \\u00e9\\/\\n\\" :  y" }', "/a", b'"x \\u00e9\\/\\n\\" :  y"'),
        (b'{"\\ud800": 0, "a": ["\\ud800", {"b" : [ ] , "c": { }}]}', "/a", b'["\\ud800",{"b":[],"c":{}}]'),
        (b'{"\\u0061": {"\\/": true}}', "/a/~1", b"true"),
        (b'{"caf\xc3\xa9": "\xf0\x9f\x98\x80"}', "/caf\u00e9", b'"\xf0\x9f\x98\x80"'),
        # In every form that JSON comes in.
        (b'\xef\xbb\xbf{"a": 1}', "/a", b"1"),
        ('{"a": "\u00e9"}'.encode("utf-16"), "/a", b'"\xc3\xa9"'),
        ('{"a": "\u00e9"}'.encode("utf-16-be"), "/a", b'"\xc3\xa9"'),
        ('{"a": "\u00e9"}'.encode("utf-32-le"), "/a", b'"\xc3\xa9"'),
        (b'{"a": "\xff", "b": 1}', "/b", b"1"),
        (b'\r\n\t {"a":\r\n1}\n', "/a", b"1"),
        (b'[[], {}, [1, [2]], "x"]', "/2/1/0", b"2"),
        (b'[[], {}, [1, [2]], "]"]', "/3", b'"]"'),
        (b"[" * 500 + b"]" * 500, "/0", b"[" * 499 + b"]" * 499),
    ],
)
def test_values_are_passed_on_as_they_are_written(body: bytes, pointer: str, value: bytes) -> None:
    assert select_from(body, pointer) == value


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body is empty"),
        (b" \n", "not JSON"),
        (b"<p>", "not JSON .Expecting value, line 1 column 1"),
        (b'{"a": 1} x', "not JSON .Extra data"),
        (b'{"a": NaN}', "NaN is not a value of JSON"),
        (b'{"a": -Infinity}', "Infinity is not a value of JSON"),
        (b'{"a": 01}', "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": "\n"}', "not JSON .Invalid control character"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"b": 1}', "there is nothing at this place"),
    ],
)
def test_why_there_is_no_value(body: bytes, detail: str) -> None:
    with pytest.raises(SelectFailed, match=detail):
        select_from(body, "/a")


def test_an_index_that_no_list_has() -> None:
    for key in ("9" * 5000, "\u0661", "1e0", " 1", "+1", ""):
        with pytest.raises(SelectFailed, match="nothing at this place"):
            select_from(b"[1, 2]", f"/{key}")


def test_a_body_that_was_cut_names_the_limit_and_never_a_part() -> None:
    for body, select in (
        (b'{"a":1}', "/a"),  # even where it happens to be whole
        (b"<p>x</p>", "b"),
        (b"<p>x</p><p>y", "p"),
        (b"<p>x</p><p>y</p>", "p:last-child"),
        (b"<rss><item><title>x", "item"),
    ):
        with pytest.raises(SelectFailed, match=f"{len(body)} bytes.* was cut") as failed:
            select_from(body, select, cut=True)
        assert failed.value.kind == "too_large"
    assert select_from(b"<h1>x</h1><p>y", "h1", cut=True) == b"x"
    assert select_from(b"<rss><item><title>x</title><link>y", "title", cut=True) == b"x"


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("<p>Größe</p>".encode(), "text/html; charset=utf-8", "Größe"),
        ("<p>Größe</p>".encode("latin-1"), "text/html; charset=iso-8859-1", "Größe"),
        ('<meta charset="utf-8"><p>Größe</p>'.encode("latin-1"), "text/html; charset=latin1", "Größe"),
        ('<meta charset="latin1"><p>Größe</p>'.encode(), "text/html; charset=utf-8", "Größe"),
        ('<meta charset="latin1"><p>Größe</p>'.encode("utf-8-sig"), "text/html", "Größe"),
        ('<meta charset="koi8-r"><p>да</p>'.encode("koi8-r"), "text/html", "да"),
        ("<p>Größe</p>".encode("utf-16"), None, "Größe"),
        ("<p>Größe</p>".encode("latin-1"), "text/html", "Größe"),
        ("<p>Größe</p>".encode(), None, "Größe"),
        ("<p>\u65e5\u2460</p>".encode("cp932"), "text/html;charset=Shift_JIS", "\u65e5\u2460"),
        (b"<p>a\0b</p>", "text/html", "a\ufffdb"),
        ("<?xml version='1.0' encoding='iso-8859-1'?><p>Größe</p>".encode("latin-1"), "application/xml", "Größe"),
        (
            "<?xml version='1.0' encoding='utf-8'?><p>Größe</p>".encode("latin-1"),
            "text/xml;charset=latin1",
            "Größe",
        ),
        ("<?xml version='1.0' encoding='iso-8859-1'?><p>Größe</p>".encode("latin-1"), None, "Größe"),
        ("<?xml version='1.0'?><p>Größe</p>".encode("utf-16"), "application/xml", "Größe"),
        ("<?xml version='1.0' encoding='utf-16'?><p>Größe</p>".encode("utf-16"), "application/xml", "Größe"),
    ],
)
def test_the_encoding_reaches_the_parser(body: bytes, content_type: str | None, text: str) -> None:
    assert select_from(body, "p", content_type).decode() == text


def test_a_charset_that_nobody_should_read() -> None:
    with pytest.raises(SelectFailed, match="charset iso-2022-kr"):
        select_from(b"<p>x</p>", "p", "text/html; charset=iso-2022-kr")


@pytest.mark.parametrize(
    ("page", "select", "text"),
    [
        # Blocks, cells, items and lines are apart; what is inline is not.
        ("<table><tr><td>1</td><td>23</td></tr><tr><td>4</td></tr></table>", "table", "1 23 4"),
        ("<table><tr><td>12</td><td>3</td></tr></table>", "tr", "12 3"),
        ("<ul><li>a</li><li>b</li></ul>", "ul", "a b"),
        ("<div><p>a</p>b<p>c</p></div>", "div", "a b c"),
        ("<p>a<br>b<wbr>c</p>", "p", "a bc"),
        ("<p>1<b>2</b><i>3</i>4 <a>5</a></p>", "p", "1234 5"),
        ("<p>H<sub>2</sub>O</p>", "p", "H2O"),
        ("<div>a<div>b</div>c</div>", "body > div", "a b c"),
        ("<dl><dt>a</dt><dd>b</dd></dl>", "dl", "a b"),
        ("<select><option>a<option>b</select>", "select", "a b"),
        ("<p>a\n \t b\u00a0c</p>", "p", "a b c"),
        # Hidden elements do not count as text.
        ("<div>a<script nonce=1>x</script><style>y</style>b</div>", "div", "ab"),
        ("<div>a<!-- x -->b<template><p>x</p></template><noscript>x</noscript>c</div>", "div", "abc"),
        ("<html><head><title>t</title></head><body>b</body></html>", "html", "b"),
        ("<div>a<input type=hidden value=x><input value=y>b</div>", "div", "ab"),
        ("<div>a<span hidden>x</span><b style='color:red; DISPLAY : none'>y</b>b</div>", "div", "ab"),
        ("<div>a<b style='x-display:none'>y</b></div>", "div", "ay"),
        ("<div>a<iframe>x</iframe><video>x</video><img alt=x>b</div>", "div", "ab"),
        ("<p>a<?php x ?>b</p>", "p", "ab"),
        # Unless it is what was asked for.
        ('<script id=data>\n{"a":  1}\n</script>', "script#data", '{"a":  1}'),
        ("<title> a  b </title>", "title", "a b"),
        ("<noscript><p>a</p></noscript>", "noscript", "a"),
        ("<p hidden>a</p>", "p", "a"),
        # Lines of what is preformatted stay.
        (
            "<div>a\n b<pre>\n x\n  y\n</pre>c</div>",
            "div",
            "a b \n x\n  y\n c",
        ),
        ("<pre>a\n  <b>b</b></pre>", "pre", "a\n  b"),
        ("<textarea>a\n  b</textarea>", "textarea", "a\n  b"),
        # One line for each element.
        ("<p>a<p>b\nc<p>", "p", "a\nb c\n"),
        ("<P CLASS=x>a</P>", "p.x", "a"),
    ],
)
def test_the_text_that_a_reader_sees(page: str, select: str, text: str) -> None:
    assert select_from(page.encode(), select, "text/html; charset=utf-8").decode() == text


def test_a_nonce_is_not_a_change_but_another_cell_is() -> None:
    page = "<main><script nonce='{0}'>const x = '{0}'</script><td>{1}</td><td>{2}</td></main>"
    one, two, three = (
        select_from(page.format(*parts).encode(), "main", "text/html")
        for parts in (("a", "1", "23"), ("b", "1", "23"), ("a", "12", "3"))
    )
    assert one == two != three


RSS = b"""<?xml version="1.0"?>
<rss version="2.0" xmlns:media="urn:m" xmlns:atom="urn:a"><channel>
<atom:link href="http://self/"/><link>http://x/</link>
<item><title><![CDATA[A &amp; <b>]]></title><media:title>M</media:title><link>http://a/</link><pubDate>D</pubDate>
<media:content url="http://img/"/><enclosure url=" http://e/ "/></item></channel></rss>"""
ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom"><entry><title type="xhtml">
<div xmlns="http://www.w3.org/1999/xhtml">A <i>b</i>c</div></title><link rel="alternate" href="http://a/"/>
<id>1</id><updated>2</updated></entry></feed>"""
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><linearGradient/><text>a<tspan>b</tspan></text></svg>"


@pytest.mark.parametrize(
    ("document", "select", "text"),
    [
        (RSS, "item > link", "http://a/"), (RSS, "channel > link", "http://x/"),
        (RSS, "item > title", "A &amp; <b>"), (RSS, "media|title", "M"), (RSS, "media\\:title", "M"),
        (RSS, "*|title", "A &amp; <b>\nM"), (RSS, "media|content", "http://img/"),
        (RSS, "enclosure", "http://e/"), (RSS, "channel > atom|link", "http://self/"), (RSS, "pubDate", "D"),
        (RSS, "item", "A &amp; <b> M http://a/ D"), (RSS, "media|title:first-of-type", "M"),
        (RSS, "rss[version='2.0'] item > :first-child", "A &amp; <b>"),
        (ATOM, "entry > link", "http://a/"), (ATOM, "entry > title", "A bc"),
        (ATOM, "link[rel=alternate]", "http://a/"), (ATOM, "entry", "A bc 1 2"),
        (SVG, "text", "ab"), (SVG, "linearGradient", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("content_type", ["application/rss+xml", "text/xml; charset=utf-8", "text/html", None])
def test_xml_is_parsed_as_xml(document: bytes, select: str, text: str, content_type: str | None) -> None:
    assert select_from(document, select, content_type).decode() == text


@pytest.mark.parametrize("select", ["entry > link", "a|entry > a|link", "a\\:link"])
def test_a_feed_that_has_a_prefix_everywhere(select: str) -> None:
    feed = b"<a:feed xmlns:a='http://www.w3.org/2005/Atom'><a:entry><a:link href='http://x/'/></a:entry></a:feed>"
    assert select_from(feed, select, "application/atom+xml") == b"http://x/"


def test_a_prefix_that_is_not_declared_is_a_name_all_the_same() -> None:
    feed = b"<rss><item><media:title>x</media:title><media:content url='http://a/'/></item></rss>"
    assert select_from(feed, "item > media|title") == b"x"
    assert select_from(feed, "media\\:content") == b"http://a/"


@pytest.mark.parametrize("select", ["item > pubdate", "x|y", "x\\:y", "RSS", "item > media"])
def test_names_in_xml_are_as_they_are_written(select: str) -> None:
    with pytest.raises(SelectFailed, match="no element matches"):
        select_from(RSS, select, "application/xml")


@pytest.mark.parametrize(
    ("document", "content_type", "text"),
    [
        (b"<?xml version='1.0'?><x><P>a</P></x>", "text/plain", None),
        (b"<?xml version='1.0'?><x><p>a<b>b</b></p></x>", "text/plain", "ab"),
        (b"<?xml version='1.0'?><!DOCTYPE html><html><p>a<p>b</html>", "text/html", "a\nb"),
        (b"<?xml version='1.0'?><html><p>a<p>b</html>", None, "a\nb"),
        (
            b"<html xmlns='http://www.w3.org/1999/xhtml'><p>a<br/>b<script>x</script></p></html>",
            "application/xhtml+xml",
            "a b",
        ),
        (b"<!-- x --><?y?><!DOCTYPE rss [<!ENTITY e 'z'>]><rss><p>a&e;</p></rss>", "text/html", "az"),
        (b"<rss><a:p>x</a:p><p>a</p></rss>", "application/xml", "a"),
        (b"<rss><p>a&nbsp;b &copy; c & d &lt;</p></rss>", "application/xml", "a b \u00a9 c & d <"),
        (b"<rss><p>a</p><p>b<i></p></rss>", "application/xml", "a\nb"),
        (b"<rss><p><![CDATA[a &nbsp; & <]]></p></rss>", "application/xml", "a &nbsp; & <"),
    ],
)
def test_what_counts_as_xml_and_what_of_it_is_mended(document: bytes, content_type: str, text: str | None) -> None:
    try:
        assert select_from(document, "p", content_type).decode() == text
    except SelectFailed:
        assert text is None


def _laughs(levels: int) -> bytes:
    entities = b"".join(b"<!ENTITY e%d '%s'>" % (n + 1, b"&e%d;" % n * 10) for n in range(levels))
    return b"<!DOCTYPE p [<!ENTITY e0 'ha'>" + entities + b"]><p>&e%d;</p>" % levels


@pytest.mark.parametrize(
    "document",
    [
        _laughs(12),
        b"<!DOCTYPE p [<!ENTITY e '" + b"a" * 50_000 + b"'>]><p>" + b"&e;" * 50_000 + b"</p>",
        b"<!DOCTYPE p [<!ENTITY e '" + b"a" * 50_000 + b"'>]><p x='" + b"&e;" * 50_000 + b"'/>",
        b"<!DOCTYPE p [<!ENTITY e '&f;'><!ENTITY f '&e;'>]><p>&e;</p>",
        b"<p>" * 5000 + b"</p>" * 5000,
    ],
)
def test_xml_that_grows_when_it_is_read_is_refused(document: bytes) -> None:
    with pytest.raises(SelectFailed, match="costs too much to read .(Maximum|Detected|Excessive)"):
        select_from(document, "p", "application/xml")


def test_entities_behind_an_error_are_not_read_at_all() -> None:
    assert select_from(_laughs(12).replace(b"<p>", b"<p a=1>"), "p", "application/xml") == b""


def test_entities_of_a_document_are_read_and_files_are_not(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    inner = b"<!DOCTYPE p [<!ENTITY e 'A &amp; B'>]><p>x&e;y</p>"
    assert select_from(inner, "p", "application/xml") == b"xA & By"
    for outside in (
        f"<!DOCTYPE p [<!ENTITY e SYSTEM 'file://{secret}'>]><p>x&e;y</p>",
        f"<!DOCTYPE p [<!ENTITY % e SYSTEM 'file://{secret}'>%e;]><p>xy</p>",
        f"<!DOCTYPE p SYSTEM 'file://{secret}'><p>xy</p>",
        f"<p xmlns:xi='http://www.w3.org/2001/XInclude'>x<xi:include href='file://{secret}' parse='text'/>y</p>",
    ):
        assert select_from(outside.encode(), "p", "application/xml").replace(b" ", b"") == b"xy"


def test_what_is_too_deep_or_too_much_is_said() -> None:
    with pytest.raises(SelectFailed, match=r"2,000 elements nested in each other"):
        select_from(b"<div>" * 100_000, "div", "text/html")
    assert select_from(b"<div>" * 1500 + b"<p>x", "p", "text/html") == b"x"
    with pytest.raises(SelectFailed, match="4,194,304 characters") as failed:
        select_from(b"<div>" * 10 + b"x" * 500_000, "div", "text/html")
    assert failed.value.kind == "too_large"


@pytest.mark.parametrize(
    "select",
    ["div[", "!!", ":nope(", "~", "/a~2", "a " * 400 + "[", pytest.param("p," * 2048 + "p", id="long"),
     pytest.param("/" + "a" * 4096, id="long pointer")],
)  # fmt: skip
def test_invalid_selections_are_refused(select: str) -> None:
    assert check_select(select)


def on_a_real_clock(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]


def test_the_process_selects_and_survives_what_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection_process, "_TIME", 1.0)  # else a core is busy for seconds

    async def run() -> None:
        selector = Selector()
        try:
            assert await selector.select(DOCUMENT, "/foo/0") == b'"bar"'
            with pytest.raises(SelectFailed, match="no element"):
                await selector.select(b"<p>", "h1")
            latin = "<p>é</p>".encode("latin-1")
            assert await selector.select(latin, "p", "text/html; charset=latin1; x=\xe9") == "é".encode()
            with pytest.raises(SelectFailed, match="was cut") as failed:
                await selector.select(b"{}", "/a", cut=True)
            assert failed.value.kind == "too_large"
            answers = await asyncio.gather(*(selector.select(b"[%d]" % n, "/0") for n in range(50)))
            assert answers == [b"%d" % n for n in range(50)]
            with pytest.raises(SelectTimeout):
                await selector.select(b"<p>a</p>" * 120_000, "p ~ p ~ p")
            assert await selector.select(b"<h1>on</h1>", "h1") == b"on"
        finally:
            await selector.close()

    on_a_real_clock(run())


@pytest.mark.parametrize(
    ("error", "kind", "detail"),
    [
        (MemoryError(), "too_large", "needs more than 1,024 MiB of memory"),
        (RuntimeError("a bug"), "unavailable", "internal error: RuntimeError: a bug"),
    ],
)
def test_the_process_survives_a_bug_and_says_so(
    error: Exception, kind: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> bytes:
        raise error

    monkeypatch.setattr(selecting, "select_from", fail)
    answers = io.BytesIO()
    selecting._serve(io.BytesIO((selecting.REQUEST.pack(2, 1, 3, False) + b"/atxyz") * 2), answers)
    answer = selecting.ANSWER.pack(selecting.KINDS.index(kind), len(detail)) + detail.encode()
    assert answers.getvalue() == answer * 2


def parent(selector: Selector) -> Process:
    process = selector._forks._parent
    assert process is not None
    return process


@pytest.mark.parametrize("killed", ["the process", "its parent"])
def test_a_process_that_ends_is_not_blamed_on_the_page(killed: str) -> None:
    async def run() -> None:
        selector = Selector()
        try:
            assert await selector.select(b"[1]", "/0") == b"1"
            (child,) = children(parent(selector).pid)
            assert selector._usual._streams is not None
            os.kill(child if killed == "the process" else parent(selector).pid, signal.SIGKILL)
            assert await selector._usual._streams[0].read() == b""  # it has ended
            with pytest.raises(SelectFailed, match="ended unexpectedly") as failed:
                await selector.select(b"[1]", "/0")
            assert failed.value.kind == "unavailable"
            assert await selector.select(b"[2]", "/0") == b"2"
        finally:
            await selector.close()

    on_a_real_clock(run())


def test_a_process_is_there_again_without_its_imports() -> None:
    async def run() -> None:
        selector = Selector()
        try:
            assert await selector.select(b"[1]", "/0") == b"1"
            before = parent(selector)
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await selector.select(b"<p>a</p>" * 120_000, "p ~ p ~ p")
                assert await selector.select(b"[2]", "/0") == b"2"
            assert parent(selector) is before
            assert len(children(before.pid)) == 1
        finally:
            await selector.close()

    on_a_real_clock(run())


def test_modules_in_the_current_folder_do_not_hide_those_of_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def run() -> None:
        selector = Selector()
        try:
            assert await selector.select(b"[1]", "/0") == b"1"
        finally:
            await selector.close()

    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "__init__.py").write_text("raise ImportError")
    monkeypatch.chdir(tmp_path)
    on_a_real_clock(run())


def test_a_process_that_cannot_start_is_an_error_of_ours_and_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        selector = Selector()
        for _ in range(2):
            with pytest.raises(
                SelectFailed, match=r"^internal error: .* cannot be started \(No such file"
            ) as failed:
                await selector.select(b"[1]", "/0")
            assert failed.value.kind == "unavailable"
        await selector.close()

    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    on_a_real_clock(run())
    (record,) = caplog.records
    assert record.getMessage() == "the selection process failed"


def starting(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Python started by a script."""
    path = folder / "python"
    path.write_text(f'#!/bin/sh\n{script.format(python=sys.executable)} "$@"\n')
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def test_a_slow_start_of_the_process_is_not_the_time_of_a_selection(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def run() -> None:
        selector = Selector()
        assert await selector.select(b"[1]", "/0") == b"1"
        await selector.close()

    monkeypatch.setattr(selection_process, "_QUICK", 1.0)
    starting(tmp_path, "sleep 1.5; exec {python}", monkeypatch)
    on_a_real_clock(run())


def test_a_process_that_ends_at_its_start_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def run() -> None:
        selector = Selector()
        with pytest.raises(SelectFailed, match=r"cannot be started \(it ended at once\)"):
            await selector.select(b"[1]", "/0")
        assert selector._usual._streams is None
        await selector.close()

    starting(tmp_path, "exit 0 #", monkeypatch)
    on_a_real_clock(run())


def test_a_process_that_never_starts_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def run() -> None:
        selector = Selector()
        with pytest.raises(SelectFailed, match=r"cannot be started \(it took longer than 0.2 s\)"):
            await selector.select(b"[1]", "/0")
        assert selector._usual._streams is None
        await selector.close()

    monkeypatch.setattr(selection_process, "_START", 0.2)
    starting(tmp_path, "exec sleep 60 #", monkeypatch)
    on_a_real_clock(run())


def test_cancelling_a_selection_ends_its_process() -> None:
    async def run() -> None:
        selector = Selector()
        task = asyncio.create_task(selector.select(b"<p>a</p>" * 120_000, "p ~ p ~ p"))
        while selector._usual._streams is None:
            await asyncio.sleep(0.01)  # a process of another process
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while children(parent(selector).pid):
            await asyncio.sleep(0.01)
        await selector.close()

    on_a_real_clock(run())


@pytest.mark.parametrize(("size", "trims"), [(256 << 10, []), ((256 << 10) + 1, ["answered"])])
def test_what_a_large_page_took_goes_back_when_it_is_answered(
    size: int, trims: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, found = io.BytesIO(), []
    monkeypatch.setattr(selecting, "trim", lambda: found.append("answered" if answers.getvalue() else "early"))
    page = b"<p>" + b"x" * (size - 3)
    request = selecting.REQUEST.pack(1, 9, size, False) + b"p" + b"text/html" + page
    selecting._serve(io.BytesIO(request), answers)
    assert found == trims


def test_processes_that_have_nothing_to_do_end() -> None:
    async def run() -> None:
        selector = Selector()
        assert await selector.select(b"[1]", "/0") == b"1"
        process = parent(selector)
        selector._dismiss()
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert await selector.select(b"[2]", "/0") == b"2"
        await selector.close()

    on_a_real_clock(run())


def test_the_process_for_slow_ones_ends_though_others_go_on_to_select(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection_process, "_SLOW_IDLE", 0.05)
    careful, slow = Owner("careful"), Owner("slow")

    async def run() -> None:
        selector = Selector()
        selector._keep_apart(slow)
        for _ in range(2):
            assert await selector.select(b"[1]", "/0", owner=slow) == b"1"
            while selector._slow._streams is not None:
                assert await selector.select(b"[2]", "/0", owner=careful) == b"2"
                await asyncio.sleep(0.01)  # a timer of the real clock
            while len(children(parent(selector).pid)) > 1:
                await asyncio.sleep(0.01)  # a process of another process
        assert selector._usual._streams is not None
        await selector.close()

    on_a_real_clock(run())


def test_a_process_that_is_busy_is_not_dismissed() -> None:
    async def run() -> None:
        selector = Selector()
        asking = asyncio.create_task(selector.select(b"[1]", "/0"))
        await asyncio.sleep(0)
        selector._dismiss()
        assert await asking == b"1"
        assert parent(selector).returncode is None
        await selector.close()

    on_a_real_clock(run())


def test_closing_ends_a_process_that_was_dismissed_too() -> None:
    async def run() -> None:
        selector = Selector()
        assert await selector.select(b"[1]", "/0") == b"1"
        process = parent(selector)
        process.send_signal(signal.SIGSTOP)  # it cannot notice that its input has ended
        selector._dismiss()
        await asyncio.wait_for(selector.close(), 10)
        assert process.returncode is not None

    on_a_real_clock(run())


def test_an_owner_whose_selections_take_too_long_holds_up_the_others_once_and_shortly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selection_process, "_TIME", 1.0)
    greedy, careful = Owner("greedy"), Owner("careful")
    ended: list[str] = []

    async def hostile(selector: Selector) -> None:
        with pytest.raises(SelectTimeout):
            await selector.select(b"<p>a</p>" * 120_000, "p ~ p ~ p", owner=greedy)
        ended.append("greedy")

    async def ordinary(selector: Selector) -> None:
        assert await selector.select(b"<h1>on</h1>", "h1", owner=careful) == b"on"
        ended.append("careful")

    async def run() -> None:
        selector = Selector()
        try:
            await asyncio.gather(*(hostile(selector) for _ in range(2)), *(ordinary(selector) for _ in range(6)))
        finally:
            await selector.close()

    asyncio.run(run())
    # The first shows that it is slow; while it and others take their time apart, all others have theirs.
    assert ended[:6] == ["careful"] * 6
