"""Options that connections inherit from the sockets that the service listens on."""

import select
import socket

from service.edge.http.listening import listen


def test_the_kernel_probes_a_connection_on_which_nothing_is_sent() -> None:
    listeners = listen("127.0.0.1", 0)
    for listener in listeners:
        listener.listen()
    with socket.create_connection(listeners[0].getsockname()):
        (ready, *_), _, _ = select.select(listeners, [], [], 30)
        connection, _ = ready.accept()
        with connection:
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    for listener in listeners:
        listener.close()
