"""The Python client in the other versions of Python that this machine has, through a cut."""

import re
import shutil
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.end_to_end.cutting import cutting
from tests.end_to_end.installed import installed
from tests.end_to_end.processes import ROOT, Process, service, start

SCRIPT = Path(__file__).parent / "python_version.py"
NEEDED = ("aiohttp", "orjson")


def python(version: str) -> str:
    """Return an interpreter of this version that has what the client needs, or skip the test."""
    if sys.version.startswith(f"{version}."):
        return sys.executable
    managed = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
    found = str(managed[-1]) if managed else shutil.which(f"python{version}")
    if found is None:
        pytest.skip(f"there is no Python {version} here")
    lock = (ROOT / "requirements.lock").read_text()
    pins = [re.search(rf"^{name}==\S+", lock, re.MULTILINE)[0] for name in NEEDED]  # type: ignore[index]
    folder = installed(
        "-".join([f"python{version}", *pins]),
        (found, "-m", "venv", "venv"),
        ("venv/bin/python", "-m", "pip", "install", "-q", *pins),
    )
    return str(folder / "venv" / "bin" / "python")


async def publish(server: Process, data: str) -> None:
    async with aiohttp.ClientSession(server.url) as session, session.post("/topics/t", json=data) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
async def test_it_publishes_reads_and_comes_back(version: str) -> None:
    interpreter = python(version)
    async with service() as server, cutting(server.port) as cutter:
        await publish(server, "first")
        url = f"http://127.0.0.1:{cutter.port}"
        # A warning of a client that is not closed, or of a task that is lost, fails it.
        process = await start(
            interpreter, "-X", "dev", "-W", "error", str(SCRIPT), url, env={"PYTHONPATH": str(ROOT)}
        )
        assert [await process.line() for _ in range(2)] == ["first\n", "own\n"]
        cutter.cut()
        await publish(server, "last")
        out, err = await process.process.communicate()
    assert out.decode() == "last\n"
    # A busy machine makes a step of a task slow, which the development mode reports.
    reported = [line for line in err.decode().splitlines() if not line.startswith("Executing ")]
    assert (process.process.returncode, reported) == (0, [])
