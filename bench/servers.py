"""The servers that the fan-out is measured against, each given what to broadcast in its own way."""

import http.client
import shutil
import socket
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from websockets.sync.client import connect

from bench.processes import Child, build, reachable

__all__ = ["PEERS", "Server"]

_FOLDER = Path(__file__).parent / "peers"


def message(number: int, sent_ns: int, size: int) -> str:
    """Return a payload of about ``size`` bytes that the receiver can account for."""
    head = f'{{"n":{number},"t":{sent_ns},"p":"'
    return head + "x" * max(0, size - len(head) - 2) + '"}'


class Server(ABC):
    """One server on one core."""

    name: str
    path = "/ws"
    protocol = ""
    subscribe = ""
    overhead = 0
    """Bytes that the server adds to a payload; the payload is that much shorter, so that all frames are alike."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.child = Child(self.command(), core=0, env=self.environment())
        self.wait()

    @classmethod
    def missing(cls) -> str | None:
        """Say what has to be installed for it, or return None."""
        return None

    @abstractmethod
    def command(self) -> list[str]:
        """Return how it is started."""

    def environment(self) -> dict[str, str]:
        """Return what its environment has beside ours."""
        return {}

    def wait(self) -> None:
        """Return when it listens."""
        self.child.line()

    @abstractmethod
    def publish(self, payload: str) -> None:
        """Broadcast a payload."""

    def stop(self, within: float = 5) -> None:
        """End it."""
        self.child.stop(within)


class Sluice(Server):
    """Ours, published to over one WebSocket."""

    name = "sluice"
    protocol = "sluice.v1"
    subscribe = '{"jsonrpc":"2.0","method":"subscribe","params":{"topic":"t"}}'
    overhead = 88

    ROOM: ClassVar[tuple[str, ...]] = ("--websockets", "19500", "--connections", "50", "--upstream", "100")

    def command(self) -> list[str]:
        return [sys.executable, "-m", "service", "serve", "--port", str(self.port), *self.ROOM]

    def wait(self) -> None:
        super().wait()
        self._publisher = connect(f"ws://127.0.0.1:{self.port}/ws", compression=None, ping_interval=None)

    def publish(self, payload: str) -> None:
        self._publisher.send(f'{{"jsonrpc":"2.0","method":"publish","params":{{"topic":"t","data":{payload}}}}}')

    def stop(self, within: float = 5) -> None:
        self._publisher.close()
        super().stop(within)


class Datagram(Server):
    """A peer that broadcasts every datagram that it gets."""

    def wait(self) -> None:
        super().wait()
        self._control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._control.connect(("127.0.0.1", self.port))

    def publish(self, payload: str) -> None:
        self._control.send(payload.encode())

    def stop(self, within: float = 5) -> None:
        self._control.close()
        super().stop(within)


class Sender(Datagram):
    """The floor: send() in a loop, in C."""

    name = "C sender"

    @classmethod
    def missing(cls) -> str | None:
        return None if shutil.which("gcc") else "gcc"

    def command(self) -> list[str]:
        return [build("sender"), str(self.port)]


class Bare(Datagram):
    """transport.write in a loop over aiohttp connections."""

    name = "bare aiohttp"

    def command(self) -> list[str]:
        return [sys.executable, str(_FOLDER / "bare.py"), str(self.port)]


class Websockets(Datagram):
    """broadcast() of the package websockets."""

    name = "websockets"

    def command(self) -> list[str]:
        return [sys.executable, str(_FOLDER / "with_websockets.py"), str(self.port)]


class NodeWs(Datagram):
    """The package ws on Node."""

    name = "ws (Node)"

    @classmethod
    def missing(cls) -> str | None:
        there = shutil.which("node") and Path("/usr/share/nodejs/ws").exists()
        return None if there else "nodejs and node-ws"

    def command(self) -> list[str]:
        return ["node", str(_FOLDER / "ws.js"), str(self.port)]

    def environment(self) -> dict[str, str]:
        return {"NODE_PATH": "/usr/share/nodejs"}


class Nchan(Server):
    """nginx with Nchan, one worker."""

    name = "Nchan"
    path = "/sub"

    @classmethod
    def missing(cls) -> str | None:
        there = Path("/usr/lib/nginx/modules/ngx_nchan_module.so").exists()
        return None if there else "nginx-light and libnginx-mod-nchan"

    def command(self) -> list[str]:
        config = Path(".bench").absolute() / f"nchan-{self.port}.conf"
        config.parent.mkdir(exist_ok=True)
        text = (_FOLDER / "nchan.conf").read_text()
        config.write_text(text.replace("PORT", str(self.port)).replace("FOLDER", str(config.parent)))
        return ["nginx", "-c", str(config)]

    def wait(self) -> None:
        reachable(self.port)
        self._publisher = http.client.HTTPConnection("127.0.0.1", self.port)

    def publish(self, payload: str) -> None:
        self._publisher.request("POST", "/pub", payload)
        self._publisher.getresponse().read()

    def stop(self, within: float = 5) -> None:
        self._publisher.close()
        super().stop(within)


PEERS: list[type[Server]] = [Sender, Nchan, Bare, NodeWs, Websockets]
