"""Names of files: readable, harmless on every system, and different for different URLs."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.commands.fetch.names import Names, candidates
from service.commands.fetch.types import suffix_for

HTTP = "http://h.example:80"
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|conin\$|conout\$|com\d|lpt\d)(\..*)?")


def first(url: str, content_type: str = "text/html", origin: str = HTTP) -> str:
    return next(candidates(url, origin, content_type))


@pytest.mark.parametrize(
    ("path", "content_type", "name"),
    [
        ("", "text/html", "index.html"),
        ("/", "text/html; charset=utf-8", "index.html"),
        ("/", "", "index.html"),
        ("/", "application/json", "index.json"),
        ("/a/b/", "text/html", "a/b/index.html"),
        ("/a", "text/html", "a.html"),
        ("/a.htm", "TEXT/HTML", "a.htm"),
        ("/a.php", "text/html", "a.php.html"),
        ("/photo", "image/jpeg", "photo.jpg"),
        ("/photo.JPEG", "image/jpeg", "photo.JPEG"),
        ("/photo.png", "image/webp", "photo.png.webp"),
        ("/paper.pdf", "application/pdf", "paper.pdf"),
        ("/paper.pdf", "text/html", "paper.pdf.html"),
        ("/data", "application/problem+json", "data.json"),
        ("/feed", "application/rss+xml", "feed.rss"),
        ("/feed.xml", "application/rss+xml", "feed.xml"),
        ("/x.tar.gz", "application/gzip", "x.tar.gz"),
        ("/x.tar.gz", "application/octet-stream", "x.tar.gz"),
        ("/README", "text/plain", "README.txt"),
        ("/setup.py", "text/plain", "setup.py"),
        ("/blob", "application/octet-stream", "blob"),
        ("/a%20b%2Fc.html", "text/html", "a_b_c.html"),
        ("/caf%C3%A9.html", "text/html", "café.html"),
        ("/cafe%CC%81.html", "text/html", "café.html"),
        ("/caf%E9.html", "text/html", "café.html"),
        ("/%E0%A4%B9%E0%A4%BF%E0%A4%A8.html", "text/html", "हिन.html"),
        ("/a/../b/./c.html", "text/html", "b/c.html"),
        ("/%2e%2e/%2E%2e/etc/passwd", "text/plain", "etc/passwd.txt"),
        ("//a//b.html", "text/html", "a/b.html"),
        ("/.bashrc", "text/plain", "_.bashrc"),
        ("/-rf.html", "text/html", "_-rf.html"),
        ("/~ann/x.html", "text/html", "_~ann/x.html"),
        ("/con.html", "text/html", "_con.html"),
        ("/aux/LPT1.png", "image/png", "_aux/_LPT1.png"),
        ("/nul", "application/octet-stream", "_nul"),
        ("/a./b.../c.", "text/html", "a/b/c.html"),
        ("/a%00%0A%1b%7f.html", "text/html", "a_.html"),
        ("/%E2%80%AEgnp.html", "text/html", "_gnp.html"),
        ("/a\\b:c*d|e.html", "text/html", "a_b_c_d_e.html"),
    ],
)
def test_names_that_can_be_read(path: str, content_type: str, name: str) -> None:
    assert first(f"http://h.example{path}", content_type) == f"h.example/{name}"


@pytest.mark.parametrize(
    ("origin", "folder"),
    [
        ("http://h.example:80", "h.example"),
        ("https://h.example:443", "h.example"),
        ("https://h.example:8443", "h.example+8443"),
        ("http://2001:db8::1:80", "2001_db8_1"),
        ("http://nul:80", "_nul"),
        ("http://" + "a." * 120 + "example:80", ("a." * 120 + "example")[:91] + "-"),
    ],
)
def test_the_folder_of_a_host(origin: str, folder: str) -> None:
    assert first("http://x/", origin=origin).split("/")[0].startswith(folder)


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        ("http://h.example/list.php?page=2&sort=up", r"h\.example/list\.php_page=2_sort=up-[0-9a-f]{8}\.html"),
        ("http://h.example/?q=%C3%A4%20b", r"h\.example/index_q=ä_b-[0-9a-f]{8}\.html"),
        ("http://h.example/a.html?", r"h\.example/a-[0-9a-f]{8}\.html"),
        ("http://h.example/" + "a" * 400 + ".html", r"h\.example/a+-[0-9a-f]{8}\.html"),
        ("http://h.example/" + "ä" * 400, r"h\.example/ä+-[0-9a-f]{8}\.html"),
        ("http://h.example/" + "folder/" * 100 + "x.html", r"h\.example/(folder/)+x-[0-9a-f]{8}\.html"),
    ],
)
def test_queries_and_long_names_have_a_part_of_the_hash(url: str, pattern: str) -> None:
    assert re.fullmatch(pattern, first(url))


urls = st.builds(
    "http://h.example/{}".format,
    st.one_of(st.text(max_size=300), st.text("aB.%2eEfF/?&~- \\:#0", max_size=300)),
)


@given(urls, st.sampled_from(["", "text/html", "image/png", "text/plain", "x", "application/octet-stream"]))
def test_every_name_is_harmless(url: str, content_type: str) -> None:
    for name in candidates(url, HTTP, content_type):
        parts = name.split("/")
        assert len(parts) >= 2
        assert parts[0] == "h.example"
        assert len(name.encode()) <= 260
        for part in parts:
            assert 0 < len(part.encode()) <= 143
            assert part not in (".", "..")
            assert part[0] not in ".-~"
            assert part[-1] not in ". "
            assert part.isprintable()
            assert not set('\\:*?"<>|') & set(part)
            assert not RESERVED.fullmatch(part)


@given(st.lists(urls, max_size=8, unique=True))
def test_no_two_urls_have_one_name_and_no_file_is_a_folder(given: list[str]) -> None:
    names = Names()
    chosen = [names.choose(url, HTTP, "text/html").casefold() for url in given]
    assert len(set(chosen)) == len(chosen)
    folders = {name[:end] for name in chosen for end in range(len(name)) if name[end] == "/"}
    assert not folders & set(chosen)


def test_what_is_taken_and_what_is_its_own() -> None:
    names = Names()
    plain = names.choose("http://h.example/a", HTTP, "text/html")
    assert plain == "h.example/a.html"
    other = names.choose("https://h.example/A", HTTP, "text/html")
    assert re.fullmatch(r"h\.example/A-[0-9a-f]{8}\.html", other)
    assert names.choose("http://h.example/a", HTTP, "text/html", own=plain) == plain
    assert names.choose("http://h.example/b", HTTP, "") == "h.example/b"
    assert names.choose("http://h.example/b/c", HTTP, "") == "h.example/b~/c"
    assert names.choose("http://h.example/d/e", HTTP, "") == "h.example/d/e"
    assert re.fullmatch(r"h\.example/d-[0-9a-f]{8}", names.choose("http://h.example/d", HTTP, ""))


def test_a_url_that_finds_every_name_taken_fails() -> None:
    names = Names()
    for name in candidates("http://h.example/a", HTTP, ""):
        names.reserve(name)
    with pytest.raises(FileExistsError):
        names.choose("http://h.example/a", HTTP, "")


@pytest.mark.parametrize(
    ("extension", "content_type", "suffix"),
    [
        (".jpg", "image/jpeg", ""),
        ("", "image/png", ".png"),
        (".x", "weird", ""),
        (".html", "text/html;x", ""),
        ("", "image/x-new+xml", ".xml"),
    ],
)
def test_suffixes(extension: str, content_type: str, suffix: str) -> None:
    assert suffix_for(extension, content_type) == suffix
