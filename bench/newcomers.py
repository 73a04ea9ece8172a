"""Healthy clients that come one after another: ``python -m bench.newcomers PORT [TOKEN]``.

From the first line of its input to the second it connects one each half second, and prints how long each
took from its connect to its first answer. A process of its own: in one with the publisher, its messages
would wait for the interpreter.
"""

import json
import os
import sys
import threading
import time

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

_EVERY = 0.5
"""Seconds between two."""


def main(port: str, token: str = "") -> None:
    """Time newcomers while someone misbehaves."""
    # The process that measures on the same core goes first.
    os.nice(19)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    over = threading.Event()

    def listen() -> None:
        sys.stdin.readline()
        over.set()

    sys.stdin.readline()
    threading.Thread(target=listen, daemon=True).start()
    seconds: list[float] = []
    failed = 0
    while not over.wait(_EVERY):
        begin = time.monotonic()
        try:
            with connect(
                f"ws://127.0.0.1:{port}/ws",
                compression=None,
                ping_interval=None,
                additional_headers=headers,
                proxy=None,
            ) as client:
                client.send('{"jsonrpc":"2.0","id":1,"method":"ping"}')
                client.recv(timeout=10)
        except (OSError, WebSocketException):
            failed += 1
        else:
            seconds.append(time.monotonic() - begin)
    reported = {"new_upgrades": len(seconds), "new_upgrades_failed": failed,
            "slowest_upgrade_ms": max(seconds, default=0.0) * 1000}  # fmt: skip
    print(json.dumps(reported), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
