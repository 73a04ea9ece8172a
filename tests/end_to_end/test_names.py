"""Name servers that cannot be asked: what the URL's failure says, and the log."""

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import orjson
import pytest

from service.upstream.guard import AresLookup
from tests.end_to_end.processes import listening, run
from tests.name_server import name_server

BATCH = {"urls": ["http://one.example/", "http://two.example/"], "options": {"retries": 1}}


def private_mounts() -> str:
    """Return the program that gives a process a file system of its own, or skip the test."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("unshare -m is not permitted here: the service's /etc/resolv.conf cannot be replaced")
    return unshare


def with_name_server(folder: Path, address: str, *command: str) -> list[str]:
    """Return a command that runs with this name server alone."""
    (folder / "resolv.conf").write_text(f"nameserver {address}\n")
    mount = f'mount --bind {folder}/resolv.conf /etc/resolv.conf && exec "$@"'
    return [private_mounts(), "-m", "sh", "-c", mount, "sh", sys.executable, "-m", *command]


async def test_name_servers_that_refuse_are_temporary_and_logged_once(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    command = with_name_server(tmp_path, address, "service", "serve", "--port", "0")
    async with listening(*command) as server, aiohttp.ClientSession(server.url) as session:
        async with session.post("/fetch-batch", json=BATCH) as answer:
            failures = (await answer.json())["results"]
        server.process.terminate()
        _, err = await server.process.communicate()
    for failure in failures:
        assert (failure["error"], failure["attempts"]) == ("dns", 2)
        assert "Could not contact DNS servers" in failure["detail"]
    logged = [orjson.loads(line) for line in err.splitlines() if b"names cannot be looked up" in line]
    assert len(logged) == 1
    assert "Could not contact DNS servers" in logged[0]["why"]


async def test_a_mute_name_server_is_named_when_the_time_of_a_url_is_over(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        fetching = ("service", "fetch", "--json", "--timeout", "0.5", "http://mute.example/")
        code, out, _ = await run(*with_name_server(tmp_path, address, *fetching))
    failure = orjson.loads(out.splitlines()[0])
    assert (code, failure["error"]) == (1, "dns")
    assert failure["detail"].startswith("the name's look-up took longer than 0.")


async def test_a_name_that_takes_a_second_is_found_beside_fast_ones() -> None:
    """c-ares expects a name server to answer as fast as it did before."""
    async with name_server("192.0.2.1") as where:
        lookup = AresLookup(1.5, [where])
        for number in range(5):
            assert await lookup(f"fast{number}.example") == ["192.0.2.1"]
        assert await lookup("slow.example") == ["192.0.2.1"]
        await lookup.close()
