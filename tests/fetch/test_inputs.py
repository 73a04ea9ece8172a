"""Lists of URLs as people's files are."""

import codecs
import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.commands.fetch import inputs
from service.commands.fetch.inputs import UrlList, from_argument, from_file, read_lines
from service.core.fetching.dial_policy import Policy
from service.core.fetching.target import Refusal, check_url

ONE, TWO = "http://h.example/one", "http://h.example/zwei-ä"


def listed(*chunks: bytes) -> list[tuple[str, int | None]]:
    urls = UrlList("list")
    read_lines(urls, chunks)
    return [(url, urls.line(index)) for index, url in enumerate(urls.urls)]


@pytest.mark.parametrize(
    ("mark", "codec"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (b"", "utf-16-le"),
        (b"", "utf-16-be"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_usual_encoding_and_line_end(mark: bytes, codec: str, end: str) -> None:
    data = mark + end.join([ONE, "", "# mine", TWO, ""]).encode(codec)
    expected = [(ONE, 1), (TWO, 4)]
    assert listed(data) == expected
    assert listed(*(data[n : n + 1] for n in range(len(data)))) == expected


@pytest.mark.parametrize(
    ("line", "url"),
    [
        (b"  http://h.example/a\t ", "http://h.example/a"),
        (b"\t # comment", None),
        (b"#http://h.example/a", None),
        (b"http://h.example/a#part", "http://h.example/a#part"),
        (b"http://h.example/caf\xe9?q=\xfc", "http://h.example/caf%E9?q=%FC"),
        ("http://h.example/café".encode(), "http://h.example/café"),
        ("\ufeff\u00a0http://h.example/a\u200b".encode(), "http://h.example/a"),
        (b"\x1a", None),
        (b" \x0c ", None),
        (b"http://h.example/\x85x", "http://h.example/%85x"),
        ("http://h.example/a\u2028b".encode(), "http://h.example/a\u2028b"),
    ],
)
def test_one_line(line: bytes, url: str | None) -> None:
    assert listed(line) == ([(url, 1)] if url else [])


def test_a_line_that_is_not_text_is_an_invalid_url_itself() -> None:
    data = "http://h/a".encode("utf-16") + b"\x00\xd8" + "b\nhttp://h/c".encode("utf-16-le") + b"\x00"
    (broken, _), (next_one, line) = listed(data)
    assert isinstance(check_url(broken, Policy()), Refusal)
    assert (next_one[:10], line) == ("http://h/c", 2)


def test_a_line_without_an_end_is_cut_and_its_neighbours_are_whole() -> None:
    found = listed(b"http://a/\n", *[b"x" * 50_000] * 20, b"\r", b"http://b/\n")
    assert [(url[:9], line) for url, line in found] == [("http://a/", 1), ("x" * 9, 2), ("http://b/", 3)]
    assert len(found[1][0]) < 200_000


@given(st.binary(max_size=300), st.integers(1, 20))
def test_urls_of_any_bytes_in_any_pieces_can_be_written(data: bytes, size: int) -> None:
    whole = listed(data)
    assert whole == listed(*(data[n : n + size] for n in range(0, len(data), size)))
    for url, _ in whole:
        url.encode()


def test_the_same_url_is_found_and_followed() -> None:
    urls = UrlList("list")
    for url in ("http://h/a", "http://h/b", "http://h/a#x", "http://h/a", "http://h/b#", "http://h/c"):
        urls.add(url)
    assert list(urls.firsts()) == [0, 1, 5]
    assert [list(urls.same(first)) for first in urls.firsts()] == [[0, 2, 3], [1, 4], [5]]
    assert urls.find("http://h/b#other") == 1
    assert urls.find("http://h/d") is None
    assert (urls.line(0), urls.place(0)) == (None, "")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://h.example/a", "HTTP://H.Example:80/a", True),
        ("http://h.example", "http://h.example/", True),
        ("http://h.example/a/../b", "http://h.example/b", True),
        ("http://h.example/ä", "http://h.example/%C3%A4", True),
        ("http://h.example/a", "http://h.example/%61", False),
        ("http://h.example/a", "https://h.example/a", False),
        ("http://h.example/a", "http://h.example/a?", False),
        ("http://h.example/a", "http://h.example/A", False),
        ("http://h.example/x.html", "http://h.example/x.html#top", True),
        ("http://h.example/a%2Fb", "http://h.example/a/b", False),
        ("no url", "no url", True),
        ("no url#a", "no url#b", False),
    ],
)
def test_what_counts_as_the_same(one: str, other: str, same: bool) -> None:
    urls = UrlList("list")
    urls.add(one)
    urls.add(other)
    assert (urls.find(other) == 0) is same
    assert urls.urls == [one, other]


@given(st.from_regex(inputs._CANONICAL, fullmatch=True))
def test_what_is_not_parsed_is_what_parsing_gives(url: str) -> None:
    target = check_url(url, Policy())
    assert isinstance(target, Refusal) or target.url == url


def test_files_and_arguments(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"http://h/a\nhttp://h/b\n")
    urls = UrlList("list")
    urls.add(from_argument(os.fsdecode(b"http://h/caf\xe9")))
    from_file(urls, str(tmp_path / "list"))
    assert urls.urls == ["http://h/caf%E9", "http://h/a", "http://h/b"]
    assert urls.place(2) == "list:2: "
    with pytest.raises(IsADirectoryError):
        from_file(urls, str(tmp_path))


def test_a_long_list_takes_a_few_hundred_bytes_a_line() -> None:
    import tracemalloc

    def lines() -> Iterable[bytes]:
        for number in range(0, 50_000, 1000):
            yield b"".join(
                b"https://host-%d.example.org/some/path/page-%d.html\n" % (n, n)
                for n in range(number, number + 1000)
            )

    urls = UrlList("list")
    tracemalloc.start()
    read_lines(urls, lines())
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(urls) == 50_000
    assert taken / len(urls) < 350
