"""A network of two machines whose cable can be cut: the service in one network namespace, the test in another.

The machine's own network is not involved, and the kernel removes the namespaces with the last process in them.
"""

import asyncio
import ctypes
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.end_to_end.processes import Process, program, start

HERE: Final = "198.18.0.1"
THERE: Final = "198.18.0.2"
_NEWNET: Final = 0x40000000
"""CLONE_NEWNET of linux/sched.h."""
_LOST: Final = "02:00:00:00:00:99"
"""The hardware address of nobody: what is sent there is lost in silence."""
_WAIT: Final = 'ip link set lo up && echo ready && read -r line && exec "$@"'


class Cable:
    """The cable between both; cutting it is silent, or takes the carrier away too."""

    def __init__(self, child: Process) -> None:
        self.child = child
        self.port = 0
        self._pid = child.process.pid
        self._macs: dict[str, str] = {}

    def plug(self) -> None:
        """Lay it between both."""
        _ip("link", "set", "there", "netns", str(self._pid))
        for side, address in (("here", HERE), ("there", THERE)):
            self._at(side, "addr", "add", f"{address}/24", "dev", side)
            self._at(side, "link", "set", side, "up")
            self._macs[side] = self._at(side, "-o", "link", "show", side).split("link/ether ")[1].split()[0]
        self.mend()

    def silence(self) -> None:
        """Lose what is sent from now on, as a NAT that forgets does."""
        self._neighbours(_LOST, _LOST)

    def unplug(self) -> None:
        """Take the network of the service away, which knows it."""
        self._at("there", "link", "set", "there", "down")

    def mend(self) -> None:
        self._at("there", "link", "set", "there", "up")
        self._neighbours(self._macs["here"], self._macs["there"])

    def _neighbours(self, here: str, there: str) -> None:
        self._at("there", "neigh", "replace", HERE, "lladdr", here, "nud", "permanent", "dev", "there")
        self._at("here", "neigh", "replace", THERE, "lladdr", there, "nud", "permanent", "dev", "here")

    def _at(self, side: str, *command: str) -> str:
        return _ip(*command, pid=self._pid if side == "there" else None)

    @asynccontextmanager
    async def request(self, method: str, path: str, body: str = "") -> AsyncIterator[asyncio.StreamReader]:
        """Ask the service from its own machine, which needs no cable."""
        with _in_namespace(Path(f"/proc/{self._pid}/ns/net")):
            inside = socket.socket()
        inside.setblocking(False)
        await asyncio.get_running_loop().sock_connect(inside, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=inside)
        try:
            head = f"{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nAccept: application/json, application/x-ndjson\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            yield reader
        finally:
            writer.close()
            await writer.wait_closed()

    async def ask(self, method: str, path: str, body: str = "") -> str:
        """Return the whole answer to a request."""
        async with self.request(method, path, body) as reader:
            return (await asyncio.wait_for(reader.read(), 30)).decode()

    async def figure(self, name: str) -> float:
        """Return a figure of /metrics."""
        lines = (await self.ask("GET", "/metrics")).splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).rsplit(" ", 1)[1])

    async def reaches(self, name: str, value: float) -> None:
        """Wait until a figure has this value."""
        async with asyncio.timeout(30):
            while await self.figure(name) != value:
                await asyncio.sleep(0.02)  # a figure of another process


@contextmanager
def own_network() -> Iterator[None]:
    """Have this thread's sockets and processes in a new network with a loose cable, or skip with the reason."""
    program("ip", "Debian: iproute2")
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if _libc().unshare(_NEWNET):
            pytest.skip(f"no network namespace can be made here: {os.strerror(ctypes.get_errno())}")
        try:
            _ip("link", "set", "lo", "up")
            try:
                _ip("link", "add", "here", "type", "veth", "peer", "name", "there")
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no pair of virtual Ethernet devices can be made here: {error.stderr}")
            yield
        finally:
            _enter(before)
    finally:
        os.close(before)


@asynccontextmanager
async def cabled(*options: str, before: str = "true", **more: str) -> AsyncIterator[Cable]:
    """Run the service behind a cable; ``before`` is a command of its shell, in a mount namespace of its own."""
    serve = (sys.executable, "-m", "service", "serve", "--host", "0.0.0.0", "--port", "0", "--no-auth")
    command = ("unshare", "--net", "--mount", "sh", "-c", f"{before} && {_WAIT}", "sh", *serve)
    child = await start(*command, *options, stdin=asyncio.subprocess.PIPE, env=more)
    try:
        assert await child.line() == "ready\n"
        cable = Cable(child)
        cable.plug()
        assert child.process.stdin is not None
        child.process.stdin.write(b"\n")
        cable.port = int((await child.line()).rsplit(":", 1)[1])
        yield cable
        assert await child.stop() == 0
    finally:
        await child.close()


def _ip(*command: str, pid: int | None = None) -> str:
    enter = () if pid is None else ("nsenter", "--net", "--target", str(pid))
    return subprocess.run([*enter, "ip", *command], check=True, capture_output=True, text=True, timeout=30).stdout


@contextmanager
def _in_namespace(path: Path) -> Iterator[None]:
    before, other = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(path, os.O_RDONLY)
    try:
        _enter(other)
        yield
    finally:
        _enter(before)
        os.close(before)
        os.close(other)


def _enter(namespace: int) -> None:
    if _libc().setns(namespace, _NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter a network namespace")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
