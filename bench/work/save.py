"""Files from a local nginx, kept: the step ``save`` beside ten threads with requests and curl, near and far."""

import random
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

from bench.durability.figure import Figure, data_folder
from bench.raw import post
from bench.upstream import PEERS, PORT, upstream
from bench.work.pictures import Pictures, sha256_of
from bench.work.running import ALL, batch, distant, failures, service, start

__all__ = ["add_options", "run"]

_BARS: Final = {20.0: 5.0, 10.0: 5.0, 0.0: 1.5}
"""The bars, by latency each way in milliseconds: how many times as fast as the threads sluice has to be.

"20 ms of latency" may be meant each way, as in tc, or for a round trip: both are measured.
"""
_LONGEST: Final = 1.2
"""Seconds from the begin of a batch of 1,000 URLs to the kill, at most: about as long as the batch takes."""
_SHORTEST: Final = 0.1
_AT_ONCE: Final = 100
"""Concurrent requests of curl, as many as of a batch."""
_SAVE: Final = [{"step": "save"}]


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--files", type=int, default=1000, help="pictures of 300 KiB (default 1000)")
    parser.add_argument("--kills", type=int, default=20, help="times that the service is killed while it saves")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")


def run(options: Namespace) -> Iterator[Figure]:
    """Measure with and without latency, then kill; yield the figures."""
    with upstream(ALL), data_folder() as folder:
        pictures = Pictures(options.files)
        try:
            for latency, bar in _BARS.items():
                with distant(options.port + 1, latency) as port:
                    yield _compared(options, pictures, folder, port, latency, bar)
            yield _killed(options, pictures, folder)
        finally:
            pictures.remove()


def _compared(
    options: Namespace, pictures: Pictures, folder: Path, port: int, latency: float, bar: float
) -> Figure:
    ours, threads, curl, shares = list[float](), list[float](), list[float](), dict[str, float]()
    for number in range(options.rounds):
        seconds, shares = _sluice(options.port, pictures, folder / "blobs", port)
        ours.append(seconds)
        threads.append(_threads(pictures, folder / "files", port))
        curl.append(_curl(pictures, folder / "files", port))
        times = f"{ours[-1]:.2f}, {threads[-1]:.2f} and {curl[-1]:.2f} s"
        print(f"  save: round {number + 1} of {options.rounds}, {times}", file=sys.stderr)
    ratio = median(its / own for own, its in zip(ours, threads, strict=True))
    floor = median(its / least for least, its in zip(curl, threads, strict=True))
    count, far = len(pictures.names), f"{latency:g} ms each way" if latency else "near"
    spent = ", ".join(f"{place} {ms / 1000:.1f} s" for place, ms in shares.items())
    return Figure(
        f"save: {far}", f"{count:,} files of 300 KiB, every one right by its hash; `time_ms`: {spent}",
        f"{median(ours):.2f} s, {count / median(ours):,.0f} files/s",
        f"ten threads with requests: {median(threads):.2f} s; {ratio:.1f} x; `curl --parallel`, which neither "
        f"hashes nor syncs: {median(curl):.2f} s; {floor:.1f} x", f"{bar:g} x", ratio >= bar,
    )  # fmt: skip


def _sluice(port: int, pictures: Pictures, blobs: Path, at: int) -> tuple[float, dict[str, float]]:
    try:
        with service(port, "--blobs", str(blobs), upstream=at):
            ran = batch(port, pictures.urls(at), _SAVE)
        hashes = pictures.hashes
        wrong = failures(ran, lambda event: event["steps"][0]["sha256"] == hashes[event["url"].rpartition("/")[2]])
        if wrong or _whole(blobs) != sorted(hashes.values()):
            raise RuntimeError(f"save: {wrong or 'not every file is right'}")
        return ran.seconds, dict(ran.time_ms)
    finally:
        shutil.rmtree(blobs, ignore_errors=True)


def _threads(pictures: Pictures, out: Path, at: int) -> float:
    urls = out.with_suffix(".urls")
    urls.write_text("\n".join(pictures.urls(at)))
    try:
        argv = [sys.executable, str(PEERS / "save_threads.py"), str(urls), str(out)]
        child = subprocess.run(["taskset", "-c", ALL, *argv], check=True, stdout=subprocess.PIPE, text=True)
        if sorted(map(sha256_of, out.iterdir())) != sorted(pictures.hashes.values()):
            raise RuntimeError("threads: not every file is right")
        return float(child.stdout)
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _curl(pictures: Pictures, out: Path, at: int) -> float:
    """Return the time of curl, which only writes the files, with as many requests at once: the machine's floor."""
    out.mkdir()
    lines = [f'url = "{url}"\noutput = "{out / url.rpartition("/")[2]}"' for url in pictures.urls(at)]
    config = out.with_suffix(".curl")
    config.write_text("\n".join(lines))
    try:
        begin = time.monotonic()
        argv = ["curl", "--silent", "--parallel", "--parallel-max", str(_AT_ONCE), "--config", str(config)]
        # It shows its progress all the same.
        subprocess.run(["taskset", "-c", ALL, *argv], check=True, stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - begin
        if sorted(map(sha256_of, out.iterdir())) != sorted(pictures.hashes.values()):
            raise RuntimeError("curl: not every file is right")
        return seconds
    finally:
        shutil.rmtree(out, ignore_errors=True)


def _whole(blobs: Path) -> list[str]:
    """Return the hashes of the files under their final names; raises RuntimeError for one that is not whole."""
    found = []
    for path in blobs.glob("??/*"):
        if (digest := sha256_of(path)) != path.name.partition(".")[0]:
            raise RuntimeError(f"{path.name} is not what its name says")
        found.append(digest)
    return sorted(found)


def _killed(options: Namespace, pictures: Pictures, folder: Path) -> Figure:
    """Kill the service while it saves, again and again; every file is whole, and the next start leaves no other."""
    blobs, chance = folder / "killed", random.Random(options.seed)
    halves = orphans = whole = 0
    request = {"urls": pictures.urls(PORT), "options": {"steps": _SAVE}}
    for number in range(options.kills + 1):
        child = start(options.port, "--blobs", str(blobs))
        try:
            orphans += len(list((blobs / "new").iterdir()))
            if number == options.kills:
                break
            status, body = post(options.port, "/fetch-batch", request, Prefer="respond-async")
            if status != 202:
                raise RuntimeError(f"the batch was answered {status}: {body[:200]!r}")
            time.sleep(_SHORTEST + chance.uniform(0.0, _LONGEST * len(pictures.names) / 1000))
        finally:
            child.kill()
        halves += len(list((blobs / "new").iterdir()))
        whole += len(_whole(blobs))
        for path in blobs.glob("??/*"):
            path.unlink()  # the next batch writes it again
        print(f"  save: kill {number + 1} of {options.kills}", file=sys.stderr)
    return Figure(
        "save: killed", f"{options.kills} times `kill -9` while it saves; {halves} files were being written then",
        f"{whole:,} files under their final name, all whole; {orphans} left over after the next start", "",
        "none half, none left over", orphans == 0,
    )  # fmt: skip
