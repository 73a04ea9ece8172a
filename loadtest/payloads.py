"""What a run publishes, and how it is known again in whatever a server makes of it."""

import re
from typing import Final

__all__ = ["FOREIGN", "MARKER", "Payloads", "Unrecognised", "payload"]

FOREIGN: Final = -1
"""The number of a message that another run has published."""
MARKER: Final = b'"n":'
_QUOTE = rb"(?:\\*\"|\\*u0022|&quot;|&#34;)"
_ANY_RUN = re.compile(rb"lt-[0-9a-f]{8}-[0-9]{1,18}", re.ASCII)


def payload(run: str, number: int, due: float, size: int, body: str = "") -> bytes:
    """Return the JSON data of a message: with ``body`` (JSON), or filled up to about ``size`` bytes.

    ``m`` names run and number in one word that no way of writing JSON changes. ``n`` and ``t`` (the
    intended time: CLOCK_MONOTONIC, ns) are for receivers that are not ours.
    """
    head = f'{{"n":{number},"t":{due * 1e9:.0f},"m":"lt-{run}-{number}",'
    if body:
        return f'{head}"body":{body}}}'.encode()
    head += '"pad":"'
    return f'{head}{"x" * max(0, size - len(head) - 2)}"}}'.encode()


class Payloads:
    """Knows messages by their numbers.

    ``marker`` is what stands before a number, ``opening`` how a message begins where other payloads may have the
    marker too. Where the numbers are ours, the word that :func:`payload` puts in is looked for first. Where a
    server drops it, ``n`` is taken, unless ``t`` is before ``since`` (monotonic): then it is of an older run.
    """

    def __init__(self, marker: bytes, opening: bytes = b"", run: str = "", since: float = 0.0) -> None:
        self._opening = opening
        self._exact = re.compile(re.escape(marker) + rb"([0-9]{1,18})", re.ASCII)
        self._tolerant = _tolerant(marker)
        self._time = _tolerant(b'"t":')
        self._since = int(since * 1e9)
        ours = run and marker == MARKER
        self._own = re.compile(rb"lt-" + run.encode() + rb"-([0-9]{1,18})", re.ASCII) if ours else None

    def number(self, payload: bytes) -> int | None:
        """Return the number of a message, FOREIGN for one of another run, None for a payload that is no message."""
        if not payload.startswith(self._opening):
            return None
        if self._own is not None:
            own = self._own.search(payload)
            if own or _ANY_RUN.search(payload):
                return int(own[1]) if own else FOREIGN
        found = self._exact.search(payload) or self._tolerant.search(payload)
        if found is None:
            return None
        return FOREIGN if self._is_old(payload) else int(found[1])

    def _is_old(self, payload: bytes) -> bool:
        if self._own is None or not self._since:
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


def _tolerant(marker: bytes) -> re.Pattern[bytes]:
    """Return the pattern of a number behind a marker, however JSON is spaced or escaped."""
    parts = [re.escape(part).replace(b":", rb"\s*:\s*") for part in marker.split(b'"')]
    text = _QUOTE.join(parts)
    return re.compile(text + _QUOTE + rb"?([0-9]{1,18})", re.ASCII)
