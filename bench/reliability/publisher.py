"""The control group's publisher, a process of its own: nothing that a trial does holds it up.

``python -m bench.reliability.publisher PORT RATE SIZE`` publishes to the topic ``t`` until a line comes, or
the end of its input, and then prints how many it has sent. It shows the token of SLUICE_TOKEN, if there is one.
"""

import os
import sys
import threading
import time

from websockets.sync.client import connect

from bench.servers import message


def main(port: int, rate: float, size: int) -> None:
    """Publish at the intended times, each message with its own."""
    ended = threading.Event()

    def listen() -> None:
        sys.stdin.readline()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    sent, begin = 0, time.monotonic() + 0.05
    token = os.environ.get("SLUICE_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    uri = f"ws://127.0.0.1:{port}/ws"
    with connect(uri, compression=None, ping_interval=None, additional_headers=headers) as socket:
        while not ended.is_set():
            due = begin + sent / rate
            time.sleep(max(0.0, due - time.monotonic()))
            payload = message(sent + 1, int(due * 1e9), size)
            socket.send(f'{{"jsonrpc":"2.0","method":"publish","params":{{"topic":"t","data":{payload}}}}}')
            sent += 1
    print(sent, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
