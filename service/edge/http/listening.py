"""The sockets that the service listens on."""

import socket
from typing import Final

__all__ = ["listen"]

_QUEUES: Final = 4


def listen(host: str, port: int) -> list[socket.socket]:
    """Bind several sockets to the one port: each has a queue of its own for connections that come at once.

    One queue has at most ``net.core.somaxconn`` places (4096), and 10,000 clients that reconnect together
    overflow it while the loop is busy with the first of them. The probe, which does not share its port,
    finds out whether somebody else listens there already.
    """
    with _bound(host, port, shared=False) as probe:
        chosen = probe.getsockname()[1]
    return [_bound(host, chosen, shared=True) for _ in range(_QUEUES)]


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        # These are inherited by every connection. What a reader does not take waits in its topic once, not
        # in 4 MiB of kernel memory for each; a peer that acknowledges nothing is gone in 20 s; and the kernel
        # probes peers to which nothing is sent.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 << 10)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
