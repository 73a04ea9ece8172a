"""The real process as systemd begins, watches and ends it; and the unit that docs/ has for it."""

import asyncio
import configparser
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp

from service.config.settings import Settings
from tests.end_to_end.processes import ROOT, Process, program, service

UNIT = ROOT / "docs" / "sluice.service"


async def heard(manager: socket.socket) -> list[str]:
    """Return the assignments of the next datagram."""
    message = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(manager, 4096), 60)
    return message.decode().splitlines()


async def state_of(server: Process, wanted: str) -> None:
    """Wait until the kernel says that a process is in a state."""
    async with asyncio.timeout(60):
        while Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in wanted:
            await asyncio.sleep(0.005)


async def test_ready_alive_stuck_and_stopping() -> None:
    name = f"@sluice-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:])
        manager.setblocking(False)
        env = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "200000"}
        async with service("--drain", "0.5", env=env) as server, aiohttp.ClientSession() as session:
            assert await heard(manager) == ["READY=1"]
            async with session.get(f"{server.url}/readyz") as answer:
                assert answer.status == 200
            alive = ["WATCHDOG=1", "STATUS=serving 0 connections, 0 batches"]
            assert [await heard(manager) for _ in range(3)] == [alive] * 3
            async with session.ws_connect(f"{server.url}/ws", protocols=("sluice.v1",)):
                while await heard(manager) != ["WATCHDOG=1", "STATUS=serving 1 connections, 0 batches"]:
                    pass
                # A process that stands still gives no sign of life, and one when it goes on.
                server.process.send_signal(signal.SIGSTOP)
                await state_of(server, "T")
                while True:
                    try:
                        manager.recv(4096)
                    except BlockingIOError:
                        break
                try:
                    await asyncio.wait_for(asyncio.get_running_loop().sock_recv(manager, 4096), 0.5)
                except TimeoutError:
                    server.process.send_signal(signal.SIGCONT)
                assert (await heard(manager))[0] == "WATCHDOG=1"
                server.process.send_signal(signal.SIGTERM)
                while await heard(manager) != ["STOPPING=1"]:
                    pass
                assert (await heard(manager))[1].startswith("STATUS=draining")
                assert await server.ended() == 0


def directives() -> configparser.SectionProxy:
    """Return the unit's section about the service; of a repeated directive the last."""
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters="=")
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(UNIT)
    return unit["Service"]


def test_the_unit_fits_the_service() -> None:
    service, defaults = directives(), Settings()
    assert service["Type"] == "notify"
    assert float(service["WatchdogSec"]) >= 10
    assert float(service["TimeoutStopSec"]) >= defaults.drain + 5
    needed = defaults.websockets + defaults.connections + defaults.upstream + 100
    assert int(service["LimitNOFILE"]) >= needed
    assert service["ExecStart"].split()[1:] == ["serve"]
    variables = re.findall(r"SLUICE_(\w+)=", service["Environment"])
    assert variables
    assert {name.lower() for name in variables} <= set(Settings.__struct_fields__)
    assert service["NoNewPrivileges"] == service["DynamicUser"] == "yes"


def test_systemd_takes_the_unit_and_finds_it_little_exposed(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", "Debian: systemd")
    unit = tmp_path / "sluice.service"
    unit.write_text(UNIT.read_text().replace("/opt/sluice/bin/sluice", sys.executable))
    for arguments in (["verify"], ["security", "--offline=true", "--threshold=20", "--no-pager"]):
        answer = subprocess.run(
            [analyze, *arguments, str(unit)], capture_output=True, text=True, timeout=60, check=False
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert "Unknown" not in answer.stderr
