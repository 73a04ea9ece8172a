"""The README as its reader meets it: every command and program in a fresh copy, but for sizes, names and the port."""

import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.end_to_end.processes import ROOT, free_port, listening, run

README = (ROOT / "README.md").read_text()
CHANGES = {
    "./x demo": "./x demo --clients 200 --urls 200 --duration 2",
    "--clients 10000": "--clients 200",
    "--duration 30": "--duration 2",
    # Names that no resolver knows: nothing leaves this machine.
    "example.com": "one.invalid",
    "example.org": "two.invalid",
}
NOT_HERE = ("./x test", "./x serve")
"""What contains this test, and what it starts itself because it does not end."""
EXPECTED = {
    "./x demo": "verdict                      passed",
    "./x serve --help": "--port",
    "fetch-batch": '"event":"done","total":2',
    "./x fetch": '"event":"done"',
    "topics/lobby -H": '"offset":1',
    "readme.py": "Done(event='done'",
    "readme.mjs": "1 { hello: 'world' }",
    "./x loadtest": "passed",
}
"""A part of a command, and what its output has."""
FAILING = ("./x fetch",)
"""Commands that report with their exit code that these names cannot be fetched."""
MOST_MIB = 110


def commands() -> list[str]:
    """Return every command of the document, in order, with continued lines joined."""
    text = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    lines = re.findall(r"^    (\S.*)$", re.sub(r" *\\\n *", " ", text), re.MULTILINE)
    return [line.partition("   #")[0].strip() for line in lines]


def changed(text: str, port: int) -> str:
    for old, new in {**CHANGES, "127.0.0.1:8080": f"127.0.0.1:{port}"}.items():
        text = text.replace(old, new)
    return text


def copy(folder: Path) -> Path:
    """Copy the files that git tracks, as in a checkout."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in names.split("\0"):
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def environment(port: int) -> list[str]:
    """Return the beginning of a command that has only these variables."""
    kept = [name for name in os.environ if name.startswith(("PIP_", "UV_", "SSL_", "REQUESTS_"))]
    return ["env", "-i", *(f"{name}={os.environ[name]}" for name in (*kept, "PATH", "HOME")), f"SLUICE_PORT={port}"]


async def shell(command: str, folder: Path, port: int) -> tuple[int, str]:
    """Run a command to its end; a reader that it leaves in the background ends with it."""
    code, out, _ = await run(
        *environment(port), "bash", "-c", command, cwd=folder, stderr=subprocess.STDOUT, within=240
    )
    return code, out


@asynccontextmanager
async def serving(folder: Path, port: int) -> AsyncIterator[None]:
    """Run ``./x serve`` for the commands that ask it."""
    async with listening(*environment(port), "./x", "serve", cwd=folder, stderr=subprocess.DEVNULL):
        yield


@pytest.mark.seconds(90)
@pytest.mark.timeout(600)
async def test_every_command_and_program_runs_as_it_stands(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed (Debian: nodejs)")
    folder, port = copy(tmp_path), free_port()
    for language, name in (("python", "readme.py"), ("js", "readme.mjs")):
        (program,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
        assert f"`{name}`" in README
        (folder / name).write_text(changed(program, port))
    met = set()
    first, *others = commands()
    code, out = await shell(changed(first, port), folder, port)
    assert code == 0, out
    size = sum(file.lstat().st_blocks for file in (folder / ".venv").rglob("*")) / 2048
    assert size < MOST_MIB, f"what runs takes {size:.0f} MiB"
    async with serving(folder, port):
        for command in others:
            if command in NOT_HERE:
                continue
            reported = changed(command, port)
            if command.endswith("&"):
                # The reader of the topic stays until the next command has published to it.
                reported = f"timeout 1 {reported.removesuffix('&').strip()} || true"
            reported = reported.replace("node ", "node --experimental-websocket --no-warnings ")
            code, out = await shell(reported, folder, port)
            assert code == (1 if command.startswith(FAILING) else 0), f"{command}: {out}"
            for part, expected in EXPECTED.items():
                if part in command:
                    met.add(part)
                    assert expected in out, f"{command}: {out}"
    assert met | {"./x demo"} == set(EXPECTED)
