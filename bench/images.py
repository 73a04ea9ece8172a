"""Saving: 1,000 files of about 300 KiB from a local nginx, by ``sluice fetch`` and by ten threads with requests.

nginx has one core; both clients have the other, one after the other, their start included.
"""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from statistics import median
from typing import Any

from bench.upstream import FOLDER, PEERS, PORT, upstream, url

__all__ = ["add_options", "run"]


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)


def run(options: Namespace) -> dict[str, Any]:
    """Measure, print the table, and return the figures."""
    with upstream():
        return _measure(options)


def _measure(options: Namespace) -> dict[str, Any]:
    www = FOLDER / "www" / "images"
    www.mkdir(exist_ok=True)
    chance = random.Random(1)
    for number in range(options.files):
        (www / f"{number}.jpg").write_bytes(chance.randbytes(chance.randint(250_000, 350_000)))
    urls = FOLDER / "images.urls"
    urls.write_text("".join(url(f"images/{number}.jpg") + "\n" for number in range(options.files)))
    # In memory where that can be: the disk is the same for all, and slower than any of them.
    out = Path("/dev/shm" if Path("/dev/shm").is_dir() else FOLDER) / f"sluice-bench-{os.getpid()}"
    ours = [
        "-m", "service", "fetch", "-q", "-i", str(urls), "--output", str(out), "--per-host", "100",
        "--allow-net", "127.0.0.0/8", "--allow-port", str(PORT),
    ]  # fmt: skip
    commands = {
        "sluice fetch": [sys.executable, *ours],
        "10 threads": [sys.executable, str(PEERS / "save_threads.py"), str(urls), str(out)],
    }
    if shutil.which("curl"):
        lines = "".join(f'url = "{address}"\n' for address in urls.read_text().split())
        (FOLDER / "images.curl").write_text(lines)
        commands["curl --parallel"] = [
            "curl", "-sS", "--no-progress-meter", "--parallel", "--parallel-max", "100", "--remote-name-all",
            "--create-dirs", "--output-dir", str(out), "-K", str(FOLDER / "images.curl"),
        ]  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in commands}
    try:
        for _ in range(options.rounds):
            for name, command in commands.items():
                begin = time.monotonic()
                subprocess.run(["taskset", "-c", "0", *command], check=True, stdout=subprocess.DEVNULL)
                times[name].append(time.monotonic() - begin)
                if _hashes(out) != _hashes(www):
                    raise RuntimeError(f"{name}: not every file is right")
                shutil.rmtree(out)
    finally:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(www)
    print(f"\n{'client':16}{'s':>8}{'files/s':>9}{'its time/ours':>15}")
    rows = []
    for name, seconds in times.items():
        ratio = median(its / ours for ours, its in zip(times["sluice fetch"], seconds, strict=True))
        rows.append({"client": name, "seconds": median(seconds), "ratio": ratio, "all": seconds})
        print(f"{name:16}{median(seconds):8.2f}{options.files / median(seconds):9.0f}{ratio:15.2f}")
    return {"files": options.files, "table": rows}


def _hashes(folder: Path) -> list[str]:
    return sorted(hashlib.sha256(Path(entry).read_bytes()).hexdigest() for entry in os.scandir(folder))
