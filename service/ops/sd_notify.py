"""Messages to systemd, by which it knows that the loop turns: sd_notify(3), sd_watchdog_enabled(3).

One datagram to the socket that ``NOTIFY_SOCKET`` names. Without one nothing is sent, and nothing runs.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, MutableMapping
from typing import Final

__all__ = ["Notifier"]

_log = logging.getLogger("sluice.notify")

_STATUS_EVERY: Final = 10.0


class Notifier:
    """Reports the state of this process to the service manager that began it.

    Takes its variables out of ``environ``, so that no child speaks for the service.
    """

    def __init__(self, environ: MutableMapping[str, str] = os.environ, *, pid: int | None = None) -> None:
        name = environ.pop("NOTIFY_SOCKET", "")
        usec, for_pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        # A leading @ stands for the zero byte of an abstract socket (unix(7)).
        self._address = "\0" + name[1:] if name.startswith("@") else name
        meant = for_pid in ("", str(pid or os.getpid()))
        self.watchdog = int(usec) / 1e6 if usec.isdecimal() and int(usec) and meant else None
        """Seconds in which the loop has to give a sign of life, or None."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if name[:1] in ("/", "@") else None
        if self._socket is not None:
            self._socket.setblocking(False)

    def __repr__(self) -> str:
        return f"<Notifier {'on' if self._socket else 'off'}, watchdog {self.watchdog}>"

    def notify(self, *states: str) -> None:
        """Send assignments such as ``READY=1``; a manager that takes nothing holds up nobody."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(states).encode(), self._address)
        except OSError as error:
            _log.warning("cannot notify systemd", extra={"why": str(error)})

    async def run(self, status: Callable[[], str]) -> None:
        """Give a sign of life twice in each interval of the watchdog, from the loop itself, until cancelled.

        A loop that is stuck gives none, and the manager ends it.
        """
        if self._socket is None:
            return
        alive = ["WATCHDOG=1"] if self.watchdog else []
        while True:
            self.notify(*alive, f"STATUS={status()}")
            await asyncio.sleep(self.watchdog / 2 if self.watchdog else _STATUS_EVERY)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
