"""The same broadcast driven by Tsung and by our load generator: memory, CPU, and what each can tell.

The service has core 0, the generator core 1. Tsung is the one of the general load generators that holds 10,000
WebSockets in one process (Debian has it); its users connect, subscribe, and wait while another one publishes.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.processes import Child, raise_descriptors

__all__ = ["add_options", "run"]

_PLAN = Path(__file__).parent / "peers" / "tsung.xml"
_REPORTED = re.compile(r"^stats: (\w+) (.*)$", re.MULTILINE)


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=4.0)
    parser.add_argument("--messages", type=int, default=80)
    parser.add_argument("--size", type=int, default=150)


def run(options: Namespace) -> dict[str, Any]:
    """Run both, print what they took and what they say, and return it."""
    raise_descriptors()
    kinds = {"loadtest": _ours}
    if shutil.which("tsung"):
        kinds["tsung"] = _tsung
    else:
        print("bench: without Tsung: install tsung", file=sys.stderr)
    figures = {name: _measured(name, kind, options) for name, kind in kinds.items()}
    print("\nloadtest says:", figures["loadtest"]["says"], sep="\n")
    print("\nTsung says:", figures.get("tsung", {}).get("says", "nothing"), sep="\n")
    return figures


def _measured(name: str, kind: Any, options: Namespace) -> dict[str, Any]:
    service = Child([sys.executable, "-m", "service", "serve", "--port", "0"], core=0)
    try:
        port = service.line().rsplit(":", 1)[1]
        with tempfile.TemporaryDirectory() as folder:
            usage, says = kind(port, Path(folder), options)
    finally:
        service.stop(20)
    deliveries = options.messages * options.clients
    row = {
        "mib": usage.ru_maxrss / 1024,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "cpu_us_a_delivery": (usage.ru_utime + usage.ru_stime) / deliveries * 1e6,
    }
    print(f"{name:10}" + "".join(f"  {key} {value:,.1f}" for key, value in row.items()))
    return {**row, "says": says}


def _ours(port: str, folder: Path, options: Namespace) -> tuple[resource.struct_rusage, str]:
    output = folder / "out"
    usage = _used(["taskset", "-c", "1", sys.executable, "-m", "loadtest", "broadcast", "--url", f"http://127.0.0.1:{port}",
                   "--clients", str(options.clients), "--rate", f"{options.rate:g}", "--size", str(options.size),
                   "--duration", f"{options.messages / options.rate:g}"], output)  # fmt: skip
    return usage, output.read_text()


def _tsung(port: str, folder: Path, options: Namespace) -> tuple[resource.struct_rusage, str]:
    arrival, load = options.clients / 1000 + 5, options.messages / options.rate
    text = _PLAN.read_text()
    values = {"PORT": port, "CLIENTS": options.clients, "BEGIN": round(arrival), "STAY": round(arrival + load + 10),
              "MESSAGES": options.messages, "PAD": "x" * options.size, "PAUSE": 1 / options.rate}  # fmt: skip
    for name, value in values.items():
        text = re.sub(rf'(?<="){name}(?=")', str(value), text)
    plan = folder / "plan.xml"
    plan.write_text(text)
    usage = _used(
        ["taskset", "-c", "1", "tsung", "-f", str(plan), "-l", str(folder), "-F", "-I", "127.0.0.1", "start"],
        folder / "out",
    )
    log = next(folder.glob("*/tsung.log")).read_text()
    # The last line of each figure is the one of the whole run.
    return usage, "\n".join(f"{name} {rest}" for name, rest in dict(_REPORTED.findall(log)).items())


def _used(argv: Sequence[str], output: Path) -> resource.struct_rusage:
    """Run a command and return what it and its children used: the memory of the largest."""
    with output.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{argv}: {output.read_text()}")
    return usage
