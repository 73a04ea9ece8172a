"""The processes behind a port."""

import os
import socket

from loadtest.server_processes import listening_processes


def test_the_process_is_found_by_its_port_or_named() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        found = listening_processes(f"http://127.0.0.1:{port}", 0)
        assert [process.pid for process in found][:1] == [os.getpid()]
    assert listening_processes(f"http://127.0.0.1:{port}", 0) == []
    assert listening_processes("http://example.org", os.getpid())[0].pid == os.getpid()
    assert listening_processes("http://example.org", 0) == []
    assert listening_processes("http://example.org", 2**22 + 1) == []
