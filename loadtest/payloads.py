"""What a run publishes, and how it is known again in what a server makes of it."""

import base64
import re
from collections.abc import Callable
from typing import Final

import orjson

from loadtest.sequences import SHIFT, first_of

__all__ = ["FOREIGN", "MARKER", "Payloads", "Unrecognised", "payload"]

FOREIGN: Final = -1
"""The number of a message that another run has published."""
MARKER: Final = b'"n":'
_QUOTE = rb"(?:\\*\"|\\*u0022|&quot;|&#34;)"
_ANY_RUN = re.compile(rb"lt-[0-9a-f]{8}-[0-9]{1,6}-[0-9]{1,12}-[0-9]{1,6}", re.ASCII)
_NUMBER = rb"([0-9]{1,12})(?![0-9])"
_MOST_WORDS: Final = 10_000
_LOW: Final = (1 << SHIFT) - 1


def payload(run: str, number: int, due: float, size: int, body: str = "") -> bytes:
    """Return the JSON data of a message: with ``body`` (JSON), or filled up to about ``size`` bytes.

    ``m`` names run, sequence, number and the length of the filling in one word that no way of writing JSON changes.
    ``n`` and ``t`` (the intended time: CLOCK_MONOTONIC, ns) are for receivers that are not ours.
    """
    place = number & _LOW
    head = f'{{"n":{place},"t":{due * 1e9:.0f},"m":"lt-{run}-{number >> SHIFT}-{place}-'
    if body:
        return f'{head}0","body":{body}}}'.encode()
    rest = '","pad":"'
    left = max(0, size - len(head) - len(rest) - 2)
    digits = len(str(left))
    filling = max(0, left - digits)
    return f'{head}{filling:0{digits}}{rest}{"x" * filling}"}}'.encode()


class Payloads:
    """Knows messages by their numbers (:mod:`loadtest.sequences`).

    ``marker`` is what stands before a number, ``opening`` how a message begins where other payloads may have the
    marker too, ``topic`` what stands before the topic's name. Where the numbers are ours, the word that
    :func:`payload` puts in is looked for first. Where a server drops it, ``n`` is taken, unless ``t`` is before
    ``since`` (monotonic): then it is of an older run. ``found`` takes the place of all that: it returns what a
    payload has in the place that the command line names.
    """

    def __init__(
        self,
        marker: bytes,
        opening: bytes = b"",
        run: str = "",
        since: float = 0.0,
        topic: bytes = b"",
        found: Callable[[bytes], bytes | None] | None = None,
    ) -> None:
        self._opening = opening
        self._exact = re.compile(re.escape(marker) + _NUMBER, re.ASCII)
        self._tolerant = _tolerant(marker)
        self._time = _tolerant(b'"t":')
        self._since = int(since * 1e9)
        self._ours = bool(run) and marker == MARKER
        self._own = re.compile(rb"lt-" + run.encode() + rb"-([0-9]{1,6})-([0-9]{1,12})-([0-9]{1,6})", re.ASCII)
        self._topic = (
            re.compile(re.escape(topic).replace(b":", rb"\s*:\s*") + rb'"((?:[^"\\]|\\.)*)"') if topic else None
        )
        self._found = found
        self._topics: dict[bytes, int] = {}
        """The first number of each topic, as its name stands in JSON."""
        self._words: dict[int, bytes] = {}
        self._places: dict[bytes, int] = {}
        """Which word stands at which number, and which number has which word, where the server numbers messages."""
        self.republished = 0
        """Messages that have come under a second number."""
        self._has_word = False
        self.begun = True
        """Whether anything may have been published."""

    def expect(self, topic: str, sequence: int) -> None:
        """Learn which sequence the messages of a topic are, where the server numbers them."""
        self._topics[orjson.dumps(topic)[1:-1]] = first_of(sequence)

    def begin(self) -> None:
        """Learn that messages are published from now on."""
        self.begun = True

    def number(self, payload: bytes) -> int | None:
        """Return the number of a message, FOREIGN for one of another run, None for no message."""
        if not payload.startswith(self._opening):
            return None
        if self._found is not None:
            return self._at_its_place(self._found(payload))
        if self._ours:
            own = self._own.search(payload)
            if own or _ANY_RUN.search(payload):
                self._has_word = True
                return int(own[1]) << SHIFT | int(own[2]) if own else FOREIGN
            if self._has_word or not self.begun:
                # Where the word is left in, and before there are messages, ``n`` is a number of the server's own.
                return None
        found = self._exact.search(payload) or self._tolerant.search(payload)
        if found is None:
            return None
        return FOREIGN if self._is_old(payload) else int(found[1]) + self._of_topic(payload)

    def numbers(self, payload: bytes) -> list[int]:
        """Return the numbers of all messages in a payload: some servers put several into one frame."""
        number = self.number(payload)
        if number is None:
            return []
        several = self._own.finditer(payload) if self._ours and self._found is None else ()
        return list(dict.fromkeys(int(own[1]) << SHIFT | int(own[2]) for own in several)) or [number]

    def compare(self, payload: bytes, number: int) -> bool:
        """Compare a message of this run with how it was sent; return whether its filling or its content differs.

        Where the server numbers messages, the content of each number is remembered: it has to stay the same.
        """
        own = self._own.search(payload) if self._found is None else None
        if own is None:
            return False
        if not self._ours and self._words.setdefault(number, own[0]) != own[0]:
            return True
        if not self._ours and self._places.setdefault(own[0], number) != number:
            self.republished += 1
        if len(self._words) > _MOST_WORDS:
            self._words.clear()
            self._places.clear()
        filling = b"x" * int(own[3])
        # JSON's members have no order, so it may stand before the word.
        at = payload.find(filling)
        return at < 0 or (bool(filling) and payload[at + len(filling) :][:1] == b"x")

    def _at_its_place(self, text: bytes | None) -> int | None:
        if text is None:
            return None
        if not text.isdigit() and not _ANY_RUN.search(text):
            text = _decoded(text)
        own = self._own.search(text)
        if own or _ANY_RUN.search(text):
            return int(own[1]) << SHIFT | int(own[2]) if own else FOREIGN
        return int(text) if text.isdigit() and len(text) <= 12 else None

    def _of_topic(self, payload: bytes) -> int:
        found = self._topic.search(payload) if self._topics and self._topic else None
        return self._topics.get(found[1], 0) if found else 0

    def _is_old(self, payload: bytes) -> bool:
        if not self._ours or not self._since:
            return False
        found = self._time.search(payload)
        return found is not None and int(found[1]) < self._since


class Unrecognised:
    """Payloads that are neither messages of this run nor anything that the adapter knows."""

    def __init__(self) -> None:
        self.count = 0
        self._first = ""

    def add(self, payload: bytes) -> None:
        """Count one, and keep the first."""
        self.count += 1
        self._first = self._first or payload[:200].decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """What is to be said of them; nothing when there were none."""
        return f"{self.count:,} payloads not recognised; first: {self._first}" if self.count else ""


def _decoded(text: bytes) -> bytes:
    """Return what a text in base64 stands for; another one as it is."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return text


def _tolerant(marker: bytes) -> re.Pattern[bytes]:
    """Return the pattern of a number behind a marker, however JSON is spaced or escaped."""
    parts = [re.escape(part).replace(b":", rb"\s*:\s*") for part in marker.split(b'"')]
    text = _QUOTE.join(parts)
    return re.compile(text + _QUOTE + rb"?" + _NUMBER, re.ASCII)
