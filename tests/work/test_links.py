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
