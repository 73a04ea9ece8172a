"""What a peer may do below the protocol: the client comes back, and its streams go on."""

import asyncio
from collections.abc import Callable

import pytest

from service.client import Backoff, Client, Disconnected, Message, State
from tests.client.scripted import Peer, scripted

MESSAGE = b'{"method":"message","params":{"topic":"t","offset":1,"data":"whole"}}'


def frame(first: int, payload: bytes, *, masked: bool = False) -> bytes:
    head = bytes((first, len(payload) | (0x80 if masked else 0)))
    return head + (b"\0\0\0\0" if masked else b"") + payload


WRONG = {
    "a reserved bit": frame(0xC1, b"x"),
    "a reserved opcode": frame(0x83, b"x"),
    "a mask": frame(0x81, b"{}", masked=True),
    "a continuation of nothing": frame(0x80, b"x"),
    "a fragmented ping": frame(0x09, b"x"),
    "a long ping": bytes((0x89, 126, 0, 200)) + b"x" * 200,
    "no UTF-8": frame(0x81, b"\xff\xfe"),
    "binary": frame(0x82, b"x"),
    "a close code that no frame may have": frame(0x88, (1005).to_bytes(2, "big")),
    "a close code of one byte": frame(0x88, b"\x03"),
    "a reason that is not UTF-8": frame(0x88, (1000).to_bytes(2, "big") + b"\xff"),
    "a close without a code": frame(0x88, b""),
    "HTTP": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
    "half a frame, then the end": bytes((0x81, 100)) + b"{",
}


async def accepted(service_waiting: asyncio.Queue[Peer]) -> Peer:
    peer = await asyncio.wait_for(service_waiting.get(), 100)
    peer.accept()
    return peer


async def begun(peer: Peer) -> None:
    request = await peer.receive()
    assert request["method"] == "subscribe"
    peer.send({"id": request["id"], "result": {"topic": "t", "epoch": "e", "offset": 0, "recovered": True}})


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_is_not_a_websocket_costs_its_connection_and_no_more(wrong: str) -> None:
    states: list[State] = []
    async with (
        scripted() as service,
        Client(service.url, backoff=Backoff(0.1, 1.0), on_state=states.append) as client,
    ):
        taking = asyncio.ensure_future(anext(aiter(client.subscribe("t", since="oldest"))))
        peer = await accepted(service.waiting)
        await begun(peer)
        peer.writer.write(WRONG[wrong])
        if wrong.endswith("the end"):
            peer.writer.close()
        peer = await accepted(service.waiting)
        await begun(peer)
        peer.writer.write(frame(0x81, MESSAGE))
        assert await asyncio.wait_for(taking, 10) == Message("t", "e", 1, "whole")
    assert [state.state for state in states] == ["connecting", "open", "waiting", "connecting", "open", "closed"]


async def test_a_message_that_is_larger_than_the_client_takes_ends_it() -> None:
    async with scripted() as service, Client(service.url) as client:
        taking = asyncio.ensure_future(anext(aiter(client.subscribe("t", since="oldest"))))
        peer = await accepted(service.waiting)
        await begun(peer)
        peer.writer.write(bytes((0x81, 127)) + b"\x7f" + b"\xff" * 7)
        with pytest.raises(Disconnected, match="1009"):
            await asyncio.wait_for(taking, 10)


async def test_a_message_may_come_in_pieces_with_pings_in_between() -> None:
    async with scripted() as service, Client(service.url) as client:
        taking = asyncio.ensure_future(anext(aiter(client.subscribe("t", since="oldest"))))
        peer = await accepted(service.waiting)
        await begun(peer)
        peer.writer.write(frame(0x01, MESSAGE[:20]) + frame(0x89, b"p") + frame(0x00, MESSAGE[20:40]))
        for byte in frame(0x80, MESSAGE[40:]):
            peer.writer.write(bytes((byte,)))
            await asyncio.sleep(0.01)
        assert await asyncio.wait_for(taking, 10) == Message("t", "e", 1, "whole")


def answer(text: str) -> Callable[[Peer], None]:
    return lambda peer: peer.writer.write(text.encode().replace(b"\n", b"\r\n"))


UPGRADE = "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nConnection: Upgrade\n"
ANSWERS = {
    "an Accept that is another's": f"{UPGRADE}Sec-WebSocket-Accept: aaaaaaaaaaaaaaaaaaaaaaaaaaa=\n\n",
    "no Accept": f"{UPGRADE}\n",
    "no Upgrade": "HTTP/1.1 101 Switching Protocols\nConnection: close\n\n",
    "not HTTP": "SSH-2.0-OpenSSH_9.2\n",
    "nonsense": "\0\0\0\0\n\n",
    "a body without an end": "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n",
    "a redirect to itself": "HTTP/1.1 302 Found\nLocation: /ws\nConnection: close\nContent-Length: 0\n\n",
    "a redirect elsewhere": "HTTP/1.1 307 Temporary Redirect\nLocation: http://127.0.0.1:1/\nConnection: close\nContent-Length: 0\n\n",
    "a head without an end": "HTTP/1.1 200 OK\nX: ",
    "a date to come back at": "HTTP/1.1 503 No\nDate: Thu, 26 Nov 2026 10:00:00 GMT\nRetry-After: Thu, 26 Nov 2026 "
    "10:00:05 GMT\nConnection: close\nContent-Length: 0\n\n",
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_what_is_not_an_upgrade_is_tried_again(name: str) -> None:
    states: list[State] = []
    async with (
        scripted() as service,
        Client(service.url, token="T", backoff=Backoff(0.1, 1.0), on_state=states.append) as client,
    ):
        calling = asyncio.create_task(client.presence("t"))
        peer = await asyncio.wait_for(service.waiting.get(), 10)
        answer(ANSWERS[name])(peer)
        while states[-1].state != "waiting":
            await asyncio.sleep(0.05)
        if "date" in name:
            assert states[-1].after is not None
            assert 5 <= states[-1].after < 6
        assert service.waiting.empty(), "nothing is followed"
        peer = await accepted(service.waiting)
        request = await peer.receive()
        peer.send({"id": request["id"], "result": {"readers": 7}})
        assert await asyncio.wait_for(calling, 10) == 7
    assert [state.state for state in states] == ["connecting", "waiting", "connecting", "open", "closed"]
