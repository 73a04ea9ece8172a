"""Connections that are cut again and again after the same silence: a proxy whose idle time-out is too short.

Such a proxy ends WebSockets and streams that wait for news, and nobody hears why: clients come back, and are cut
again. The kernel knows how long each was silent.
"""

import logging
import socket
import struct
from collections import deque
from collections.abc import Callable
from statistics import median
from typing import Final

from service.core.occurrences import Occurrences

__all__ = ["IdleCuts", "silence_of"]

_log = logging.getLogger("sluice")

_ENOUGH: Final = 5
_LAST: Final = 10
"""Cuts that are remembered."""
_SHARE: Final = 0.8
"""Of them that have to have the same silence."""
_SAME: Final = 0.05
_LEAST_SAME: Final = 0.3
"""What silences may differ by: this share, or so many seconds."""
_APART: Final = 0.5
"""Seconds between two that count: many that go together (a client of many connections) say as much as one."""
_SHORTEST: Final = 1.0
_EVERY: Final = 3600.0
_TIMES: Final = struct.Struct("=44xI4xI")
"""Milliseconds since data was last sent, and last received: a part of struct tcp_info of Linux."""


class IdleCuts:
    """Records silences, and warns where most are the same, and shorter than the heartbeat."""

    def __init__(self, heartbeat: float, clock: Callable[[], float]) -> None:
        self._heartbeat = heartbeat
        self._clock = clock
        self._silences: deque[float] = deque(maxlen=_LAST)
        self._noted = float("-inf")
        self._warnings = Occurrences(clock, _EVERY)

    def __repr__(self) -> str:
        return f"<IdleCuts {list(self._silences)}>"

    def note(self, silence: float) -> None:
        """Record that the other side ended a connection in use after this many seconds without a byte."""
        if not _SHORTEST <= silence < self._heartbeat or self._clock() - self._noted < _APART:
            return
        self._noted = self._clock()
        self._silences.append(silence)
        if len(self._silences) < _ENOUGH:
            return
        usual = median(self._silences)
        same = sum(abs(one - usual) <= max(_LEAST_SAME, usual * _SAME) for one in self._silences)
        if same < _SHARE * len(self._silences) or not self._warnings.happened():
            return
        _log.warning(
            "connections are cut after the same silence",
            extra={
                "silence_s": round(usual, 1),
                "heartbeat_s": self._heartbeat,
                "advice": f"if a proxy is between, raise its idle time-out, or set --heartbeat below {usual:.3g}",
            },
        )


def silence_of(sock: socket.socket) -> float | None:
    """Return for how many seconds nothing was sent or received; None where the kernel does not say."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 128)
    except OSError:
        return None
    return min(_TIMES.unpack_from(info)) / 1000 if len(info) >= _TIMES.size else None
