"""The answer to an upgrade, in the spellings that servers have."""

import pytest

from loadtest.frames import accept_of
from loadtest.upgrade import UpgradeRefused, accepted

ACCEPT = accept_of("key").encode()


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + ACCEPT,
        b"HTTP/1.1 101\r\nsec-websocket-accept:" + ACCEPT,
        b"HTTP/1.1 101 \r\nX: y\r\nSEC-WEBSOCKET-ACCEPT:\t " + ACCEPT + b" \r\nUpgrade: websocket",
    ],
)
def test_spellings_of_yes(head: bytes) -> None:
    assert accepted(head, "key") == ""


def test_the_extensions_are_what_it_agrees_on() -> None:
    head = (
        b"HTTP/1.1 101 OK\r\nSec-WebSocket-Accept:"
        + ACCEPT
        + b"\r\nSec-WebSocket-Extensions:permessage-deflate; a=1"
    )
    assert accepted(head, "key") == "permessage-deflate; a=1"


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"HTTP/1.1 101 OK\r\nSec-WebSocket-Accept: " + ACCEPT.lower(), "does not fit"),
        (b"HTTP/1.1 101 OK\r\nX-Sec-WebSocket-Accept: " + ACCEPT, "does not fit"),
        (b"HTTP/1.1 200 OK\r\nSec-WebSocket-Accept: " + ACCEPT, "refused: 200 OK"),
        (b"HTTP/1.1 302 Found\r\nLocation: https://x/", "refused: 302 Found, to https://x/"),
        (b"SSH-2.0-OpenSSH", "is not HTTP"),
    ],
)
def test_other_answers_are_refusals(head: bytes, said: str) -> None:
    with pytest.raises(UpgradeRefused, match=said):
        accepted(head, "key")
