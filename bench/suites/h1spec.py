"""h1spec: 33 cases of HTTP/1.1, from a checkout of uNetworking/h1spec, with Deno (``npm install deno@2``)."""

import re
import shutil
import subprocess
from pathlib import Path

from bench.suites.tool import Missing

__all__ = ["judge"]


def judge(port: int, checkout: Path) -> tuple[int, int, list[str]]:
    """Return how many cases passed, of how many, and what is said of the others; raises Missing."""
    script = checkout / "http_test.ts"
    if not script.exists():
        raise Missing(
            f"h1spec needs a checkout of github.com/uNetworking/h1spec in {checkout} (or --h1spec FOLDER)"
        )
    deno = shutil.which("deno") or shutil.which("deno", path=str(Path(".bench/node_modules/.bin")))
    if deno is None:
        raise Missing("h1spec needs deno on the PATH, or: npm install --prefix .bench deno@2")
    ran = subprocess.run(
        [deno, "run", "--no-check", "--allow-net=127.0.0.1", str(script), "127.0.0.1", str(port)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    counted = re.search(r"(\d+) out of (\d+) tests passed", ran.stdout)
    if counted is None:
        raise RuntimeError(f"h1spec ended with {ran.returncode}: {ran.stderr[-500:]}")
    failed = [line.strip() for line in (ran.stdout + ran.stderr).splitlines() if "\u274c" in line]
    return int(counted[1]), int(counted[2]), failed
