"""Where the server is: URLs as people write them, several addresses, headers given twice."""

from argparse import Namespace
from typing import Any

import pytest

from loadtest.endpoint import Addresses, NoAddress, endpoint_of
from loadtest.headers import parse_headers


def options(url: str, **more: Any) -> Namespace:
    given = {
        "header": [],
        "token": "",
        "ca": "",
        "cert": "",
        "key": "",
        "insecure": False,
        "sni": "",
        "compress": False,
    }
    return Namespace(url=url, **{**given, **more})


@pytest.mark.parametrize(
    ("url", "path", "asked"),
    [
        ("http://h", "/ws", "/ws"),
        ("http://h/", "/ws", "/ws"),
        ("http://h/base", "/ws", "/base/ws"),
        ("ws://h/base/ws", "/ws", "/base/ws"),
        ("ws://h/?room=1", "/ws", "/ws?room=1"),
        ("ws://h/chat?room=1&x=%20", "/sub?id=t", "/chat/sub?id=t&room=1&x=%20"),
        ("http://h", "", "/"),
        ("http://h/caf\u00e9 1", "", "/caf%C3%A9%201"),
        ("http://h/#part", "/ws", "/ws"),
    ],
)
def test_path_and_query_of_the_url_are_asked_for(url: str, path: str, asked: str) -> None:
    assert endpoint_of(options(url)).request_target(path) == asked


@pytest.mark.parametrize(
    ("url", "authority"),
    [("http://h", "h"), ("ws://h:80", "h"), ("http://h:8080", "h:8080"), ("https://h:443", "h"), ("https://h:80", "h:80"),
     ("http://[::1]:8080", "[::1]:8080"), ("http://\u00e9.example", "xn--9ca.example")],
)  # fmt: skip
def test_the_host_header_is_as_clients_write_it(url: str, authority: str) -> None:
    assert endpoint_of(options(url)).authority == authority


def test_a_user_in_the_url_is_basic_authentication() -> None:
    assert endpoint_of(options("http://me:p%40ss@h")).headers == (("Authorization", "Basic bWU6cEBzcw=="),)
    assert endpoint_of(options("http://me:pass@h", token="t")).headers == (("Authorization", "Bearer t"),)


def test_headers_keep_their_order_and_come_twice() -> None:
    texts = ["Cookie: a=1", "X: ", "cookie:b=2", "Time: 10:30"]
    assert parse_headers(texts) == (("Cookie", "a=1"), ("X", ""), ("cookie", "b=2"), ("Time", "10:30"))
    assert endpoint_of(options("http://h", header=texts)).fields.getall("Cookie") == ["a=1", "b=2"]


async def test_connections_are_spread_over_the_addresses_that_answer() -> None:
    addresses = Addresses()
    found = [(2, (f"127.0.0.{number}", 80)) for number in (1, 2, 3)]
    addresses._all = list(found)
    assert [addresses.order(number)[0] for number in range(4)] == [*found, found[0]]
    addresses.refused(found[1])
    assert addresses.order(1) == [found[2], found[0], found[1]]
    addresses.accepted(found[1])
    assert addresses.order(1)[0] == found[1]


async def test_a_name_without_an_address_is_said() -> None:
    with pytest.raises(NoAddress):
        await Addresses().look_up("no-such-host.invalid", 80, 20.0)
