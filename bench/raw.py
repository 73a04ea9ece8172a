"""Clients of raw bytes: what a well-behaved library would never send, and clients that do not read."""

import http.client
import json
import socket
import struct
from typing import Any

__all__ = ["close_code", "frame", "http_request", "mute", "post", "request", "upgrade"]


def frame(payload: bytes, *, first: int = 0x81, masked: bool = True) -> bytes:
    """Return a frame; its mask is zero, so that the payload can be read in a dump."""
    size, bit = len(payload), 0x80 if masked else 0
    if size >= 1 << 16:
        length = struct.pack("!BQ", bit | 127, size)
    elif size >= 126:
        length = struct.pack("!BH", bit | 126, size)
    else:
        length = bytes((bit | size,))
    return bytes((first,)) + length + (bytes(4) if masked else b"") + payload


def request(method: str, **params: Any) -> bytes:
    """Return a request without an id, in a frame."""
    return frame(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode())


def upgrade(port: int, path: str = "/ws", *, buffer: int = 0) -> socket.socket:
    """Return a WebSocket after its handshake; ``buffer`` bounds what its kernel takes in."""
    one = socket.socket()
    if buffer:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    one.settimeout(30)
    one.connect(("127.0.0.1", port))
    one.sendall(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        piece = one.recv(1)
        if not piece:
            raise ConnectionError("closed during the handshake")
        head += piece
    if not head.startswith(b"HTTP/1.1 101"):
        one.close()
        raise ConnectionError(head.split(b"\r\n", 1)[0].decode())
    return one


def mute(port: int, topic: str, *, on_lag: str = "disconnect", buffer: int = 0) -> socket.socket:
    """Connect and subscribe a client that reads nothing from then on."""
    one = upgrade(port, buffer=buffer)
    one.sendall(request("subscribe", topic=topic, on_lag=on_lag))
    return one


def close_code(one: socket.socket, within: float = 10.0) -> int | None:
    """Read to the end; return the close code, 0 for an end without one, None where there is no end."""
    one.settimeout(within)
    rest = b""
    try:
        while piece := one.recv(1 << 16):
            rest = (rest + piece)[-200:]
    except TimeoutError:
        return None
    except ConnectionError:
        pass
    begin = rest.rfind(b"\x88")
    return int.from_bytes(rest[begin + 2 : begin + 4]) if begin >= 0 and len(rest) >= begin + 4 else 0


def http_request(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
    """Return status and body of one request; an underscore in a header's name stands for a hyphen."""
    api = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        api.request(method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = api.getresponse()
        return answer.status, answer.read()
    finally:
        api.close()


def post(port: int, path: str, body: Any, **headers: str) -> tuple[int, bytes]:
    """POST a JSON document."""
    return http_request(port, "POST", path, json.dumps(body).encode(), Content_Type="application/json", **headers)
