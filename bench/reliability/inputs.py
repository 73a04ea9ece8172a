"""Input that no library would send: slow bodies, forbidden frames, messages too large, text that is none."""

import json
import socket
import time
import zlib
from collections import Counter

from bench.raw import close_code, frame, http_request, post, upgrade
from bench.reliability.stage import Stage
from bench.reliability.stock import stock
from bench.reliability.trial import Outcome, Scene, Trial, words

__all__ = ["TRIALS"]

_BODY_TIME = 3.0


def _slow_bodies(scene: Scene) -> Outcome:
    count = scene.many(450)
    with stock(scene.port + 1) as peer:
        theirs = _stalled_bodies(peer.port, "/", min(count, 20), _BODY_TIME * 4)
    with Stage(scene, "--body-time", str(_BODY_TIME)) as stage:
        ended = _stalled_bodies(stage.port, "/fetch-batch", count, _BODY_TIME + 5)
        stage.attacked()
        last = max(ended, default=0.0)
        return stage.outcome(
            f"{count} bodies that stall or come a byte a second",
            {"all ended": len(ended) == count, "within body time + 1 s": last <= _BODY_TIME + 1},
            # They come in one moment, and are answered in another.
            factor=None,
            stock=f"{len(theirs)} of {min(count, 20)} ended within {_BODY_TIME * 4:g} s",
            last_ended_s=last,
        )


def _stalled_bodies(port: int, path: str, count: int, within: float) -> list[float]:
    """Return after how many seconds each that was ended was."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        "Content-Length: 1000\r\n\r\n".encode()
    )
    open_: dict[socket.socket, float] = {}
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port))
        one.sendall(head)
        one.setblocking(False)
        open_[one] = time.monotonic()
    ended: list[float] = []
    begin = time.monotonic()
    drip = begin
    while open_ and time.monotonic() < begin + within:
        if time.monotonic() > drip:
            drip += 1.0
            for one in list(open_)[::2]:
                _send(one, b"[")
        for one in [one for one in open_ if _has_ended(one)]:
            ended.append(time.monotonic() - open_.pop(one))
            one.close()
        time.sleep(0.05)
    for one in open_:
        one.close()
    return ended


def _send(one: socket.socket, data: bytes) -> None:
    try:
        one.send(data)
    except OSError:
        return  # it has been closed, which _has_ended checks


def _has_ended(one: socket.socket) -> bool:
    """Return whether an answer or the end has come."""
    try:
        one.recv(1 << 16)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _unmasked(scene: Scene) -> Outcome:
    count = scene.many(1000)
    text = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    with stock(scene.port + 1) as peer:
        one = upgrade(peer.port)
        one.sendall(frame(text, masked=False))
        answered = one.recv(1000)[2:] == text
        one.close()
    with Stage(scene) as stage:
        codes: Counter[int | None] = Counter()
        for number in range(count):
            one = upgrade(stage.port)
            # In one piece, and with its header cut.
            data = frame(text, masked=False)
            one.sendall(data[:1])
            if number % 2:
                time.sleep(0.001)
            one.sendall(data[1:])
            codes[close_code(one)] += 1
            one.close()
        return stage.outcome(
            f"{count} connections with an unmasked frame",
            {"all closed with 1002": codes == {1002: count}},
            stock="answered" if answered else "refused",
            codes=words(codes),
        )


def _oversize(scene: Scene) -> Outcome:
    each = scene.many(50)
    half = frame(b"x" * 10, first=0x01)
    kinds: dict[str, tuple[list[bytes], int]] = {
        "2^63-1 declared": ([b"\x81\xff" + (2**63 - 1).to_bytes(8) + bytes(4)], 1009),
        "2^63-1 after a fragment": ([half, b"\x80\xff" + (2**63 - 1).to_bytes(8) + bytes(4)], 1009),
        "2^64-1 declared": ([b"\x81\xff" + b"\xff" * 8 + bytes(4)], 1009),
        "1 GiB declared": ([b"\x82\xff" + (1 << 30).to_bytes(8) + bytes(4), b"x" * 1000], 1009),
        "10,000 fragments": ([half + frame(b"x" * 10, first=0x00) * 10_000], 1009),
        "64 KiB and a byte": ([frame(b" " * 65_537)], 1009),
    }
    with Stage(scene) as stage:
        wrong: list[str] = []
        for name, (pieces, code) in kinds.items():
            codes = [_reported(stage.port, pieces) for _ in range(each)]
            wrong += [f"{name}: {one}" for one in codes if one != code]
        taken = sum(_byte_by_byte(stage.port) for _ in range(scene.many(5)))
        memory = stage.peak.resident - stage.calm.resident
        return stage.outcome(
            f"{each} each of {len(kinds)} kinds; {taken} messages of 2,000 bytes a byte at a time",
            {
                "all closed with 1009": not wrong,
                "byte by byte taken": taken == scene.many(5),
                "less than 5 MiB more": memory < 5 << 20,
            },
            wrong=", ".join(wrong[:5]) or "none",
        )


def _reported(port: int, pieces: list[bytes]) -> int | None:
    one = upgrade(port)
    try:
        for piece in pieces:
            one.sendall(piece)
    except ConnectionError:
        pass  # it was refused before its end
    try:
        return close_code(one)
    finally:
        one.close()


def _byte_by_byte(port: int) -> bool:
    """Return whether a message is answered that comes in as many segments as it has bytes."""
    one = upgrade(port)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = frame(b'{"jsonrpc":"2.0","id":1,"method":"ping"}'.ljust(2000))
    for number in range(len(data)):
        one.sendall(data[number : number + 1])
    answer = one.recv(1000)
    one.close()
    return b'"result":{}' in answer


def _bombs(scene: Scene) -> Outcome:
    count = scene.many(200)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = (block * 60)[:60_000]
    empty = b"\x03\x00" * 25_000
    with Stage(scene) as stage:
        codes = Counter(
            _reported(stage.port, [frame(data, first=0xC1)]) for _ in range(count) for data in (zeros, empty)
        )
        memory = stage.peak.resident - stage.calm.resident
        return stage.outcome(
            f"{2 * count} compressed messages, of zeros and of 25,000 empty members (compression is not offered)",
            {
                "all closed with 1002": codes == {1002: 2 * count},
                "less than 5 MiB more": memory < 5 << 20,
                "loop lag below 50 ms": stage.sampler.lag_ms < 50,
            },
            codes=words(codes),
        )


_DEEP = b"[" * 10_000 + b"]" * 10_000
_HUGE = b"9" * 10_000
_VALUES: dict[str, bytes] = {
    "depth 10,000": _DEEP,
    "an integer of 10,000 digits": _HUGE,
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "a lone surrogate": b'"\\ud800"',
    "no end": b'{"a":',
    "not UTF-8": b'"\xff\xfe"',
    "doubled names": b'{"a":1,"a":2}',
}


def _not_text(scene: Scene) -> Outcome:
    rounds = scene.many(100)
    with Stage(scene) as stage:
        statuses = Counter(
            http_request(stage.port, "POST", path, value, Content_Type="application/json")[0]
            for _ in range(rounds)
            for path in ("/topics/x", "/fetch-batch", "/publish")
            for value in _VALUES.values()
        )
        answers = Counter(_conversation(stage.port, value) for _ in range(rounds) for value in _VALUES.values())
        kept = post(stage.port, "/topics/x", {"a": 1})[0]
        return stage.outcome(
            f"{sum(statuses.values())} bodies and {sum(answers.values())} messages of {len(_VALUES)} kinds",
            {
                "no status above 499": not any(status >= 500 for status in statuses),
                "each message answered or closed with 1007": answers.keys() <= {"answered", "closed 1007"},
                "a good one is taken after": kept == 200,
            },
            statuses=words(statuses),
            answers=", ".join(f"{count} {what}" for what, count in answers.items()),
        )


def _conversation(port: int, value: bytes) -> str:
    """Publish a value twice and say what came back."""
    text = b'{"jsonrpc":"2.0","id":1,"method":"publish","params":{"topic":"x","data":%b}}' % value
    one = upgrade(port)
    one.settimeout(10)
    try:
        one.sendall(frame(text) + frame(text))
        answer = one.recv(1 << 16)
        if answer[:1] == b"\x88":
            return f"closed {int.from_bytes(answer[2:4])}"
        begin = answer.index(b"{")
        json.JSONDecoder().raw_decode(answer[begin:].decode("utf-8", "replace"))
        return "answered"
    except OSError as error:
        return repr(error)
    finally:
        one.close()


TRIALS = [
    Trial(4, "slow-bodies", "408 or closed at the body time", _slow_bodies),
    Trial(6, "oversize", "1009, and no memory", _oversize),
    Trial(7, "bombs", "1002: compression is not offered", _bombs),
    Trial(8, "not-text", "an error or 1007, no 500", _not_text),
    Trial(25, "unmasked", "1002 (RFC 6455, 5.1)", _unmasked),
]
