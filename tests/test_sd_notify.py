"""What a service manager hears, over a socket of its own kind."""

import asyncio
import logging
import re
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from service.ops.sd_notify import Notifier


class Manager:
    """The other end: a datagram socket, in a folder or in the abstract namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.setblocking(False)

    def heard(self) -> list[list[str]]:
        """Return the assignments of each datagram that has come."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode().splitlines())
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@sluice-test-{tmp_path}")
    yield manager
    manager.socket.close()


def test_it_takes_its_variables_so_that_no_child_has_them(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7", "HOME": "/"}
    notifier = Notifier(environ, pid=7)
    notifier.notify("READY=1", "STATUS=it serves")
    notifier.close()
    assert environ == {"HOME": "/"}
    assert notifier.watchdog == 30.0
    assert manager.heard() == [["READY=1", "STATUS=it serves"]]


@pytest.mark.parametrize(
    "environ",
    [
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {},
    ],
)
def test_a_watchdog_that_is_meant_for_another_or_says_nothing_is_none(environ: dict[str, str]) -> None:
    assert Notifier(environ, pid=7).watchdog is None


async def test_without_a_manager_nothing_is_sent_and_nothing_runs() -> None:
    for name in ("", "vsock:2:1234"):
        notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "1000"})
        notifier.notify("READY=1")
        await asyncio.wait_for(notifier.run(lambda: "x"), 1)


async def test_the_loop_gives_a_sign_of_life_twice_in_each_interval(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "30000000"})
    task = asyncio.create_task(notifier.run(lambda: "3 connections"))
    await asyncio.sleep(61)
    heard = manager.heard()
    assert len(heard) == 5  # at 0, 15, 30, 45 and 60 s
    assert heard[0] == ["WATCHDOG=1", "STATUS=3 connections"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    notifier.close()


async def test_a_loop_that_is_stuck_gives_none(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "20000"})
    task = asyncio.create_task(notifier.run(lambda: "x"))
    await asyncio.sleep(0.1)
    assert manager.heard()
    time.sleep(0.1)  # nothing turns the loop for five intervals
    assert manager.heard() == []
    await asyncio.sleep(0.02)
    assert manager.heard()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    notifier.close()


async def test_without_a_watchdog_only_the_status_is_sent(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.name})
    task = asyncio.create_task(notifier.run(lambda: "x"))
    await asyncio.sleep(25)
    assert manager.heard() == [["STATUS=x"]] * 3
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    notifier.close()


def test_a_manager_that_has_gone_or_takes_nothing_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})) as notifier:
        notifier.notify("READY=1")
    manager = Manager(str(tmp_path / "full"))
    with closing(manager.socket), closing(Notifier({"NOTIFY_SOCKET": manager.name})) as notifier:
        for _ in range(1000):
            notifier.notify("WATCHDOG=1")
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    whys = {re.sub(r"\[Errno \d+\] ", "", vars(record)["why"]) for record in caplog.records}
    assert whys == {"No such file or directory", "Resource temporarily unavailable"}
