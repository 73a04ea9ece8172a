"""``links``: absolute, in order, once each."""

import pytest

from service.work.builtin.links import Links, links
from service.work.step import Body, StepFailed

PAGE = b"""<!doctype html><base href="/deep/"><a href="one">1</a> <a href=" t\two ">2</a>
<area href="//other.example:8443/x#part"><a href="one#again">3</a><a href="mailto:a@b">4</a><a href="http://[">5</a>
<a href="?q=1">6</a><a>7</a><a href="javascript:x">8</a>"""


def body(data: bytes, content_type: str | None = "text/html") -> Body:
    return Body(data, content_type, "http://here.example/page?x")


def test_links_are_absolute_in_order_and_there_once() -> None:
    assert links(body(PAGE), Links()).fields == {
        "links": [
            "http://here.example/deep/one",
            "http://here.example/deep/two",
            "http://other.example:8443/x",
            "http://here.example/deep/?q=1",
        ]
    }


def test_links_of_the_same_host_have_its_port_too() -> None:
    page = b'<a href="/a"><a href="http://here.example:80/b"><a href="http://here.example:81/c"><a href="https://here.example/d">'
    assert links(body(page), Links(same_host=True)).fields["links"] == [
        "http://here.example/a",
        "http://here.example:80/b",
    ]


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("a b\x7f", "http://here.example/deep/a%20b%7F"),
        ("/?q=a b", "http://here.example/?q=a%20b"),
        (r"img\a.png?x=\y", r"http://here.example/deep/img/a.png?x=\y"),
        (r"\\other.example\x", "http://other.example/x"),
        (r"http:\\other.example/x", "http://other.example/x"),
        ("///other.example/x", "http://other.example/x"),
        ("https:////other.example//x", "https://other.example//x"),
        ("/a//b", "http://here.example/a//b"),
        ("http://me:a%40b@other.example/", "http://me:a%40b@other.example/"),
        ("http://[::1]:8080/", "http://[::1]:8080/"),
        *((address, None) for address in ("//", "http://", r"\\", "http://[", "http://a b/", "http://a%20b/",
                                          "http://a:port/", "http://a:65536/", "http://a:0/", "javascript:x",
                                          "mailto:a@b.example", "http://?x")),
    ],
)  # fmt: skip
def test_addresses_lead_where_browsers_go_and_can_be_fetched(address: str, link: str | None) -> None:
    page = f'<base href="/deep/"><a href="{address}">'.encode()
    assert links(body(page), Links()).fields["links"] == ([link] if link is not None else [])


def test_links_are_bounded_however_long_the_base_is() -> None:
    base = b"<base href='http://here.example/" + b"b" * 8000 + b"/'>"
    again = b"<a href=again>" * 5000
    assert len(links(body(base + again), Links()).fields["links"]) == 1
    with pytest.raises(StepFailed, match="more than 16,777,216 bytes"):
        links(body(base + again + b"".join(b"<a href=%d>" % number for number in range(5000))), Links())


@pytest.mark.parametrize(("data", "content_type"), [(b"", "text/html"), (b"<rss><a href='/x'/></rss>", "text/xml")])
def test_links_of_what_is_not_a_page(data: bytes, content_type: str) -> None:
    with pytest.raises(StepFailed):
        links(body(data, content_type), Links())
