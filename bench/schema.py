"""Schema: what schemathesis finds when it takes /openapi.json at its word."""

import os
import re
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any, Literal

from bench.processes import Child

__all__ = ["add_options", "command", "environment", "run"]

_ROOT = Path(__file__).parent.parent
_TOKEN = "schemathesis"
Bound = tuple[Literal["max-examples", "max-time"], int]
"""Examples for each operation, or seconds for all."""


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--seconds", type=int, default=600, help="how long (default 600)")
    parser.add_argument("--seed", type=int, default=1)


def command(url: str, bound: Bound, seed: int, token: str = _TOKEN) -> list[str]:
    """Return how schemathesis is run against a service that needs this token, up to a bound.

    With ``max-examples`` a seed makes the same requests on any machine; until ``max-time`` is over, schemathesis
    makes as many as the machine can.

    Left out: /ws and the pipelines, which stop being HTTP with their answer (Autobahn's business); the check that
    what was deleted is gone: DELETE ends a batch, and who has its id may still read it; and the check for a missing
    Authorization, which stays there when the hooks have changed a case (``ignored_auth`` does that check for
    itself). One worker: hypothesis parses source in threads, which CPython 3.11.7 cannot (gh-106905).
    """
    config = _ROOT / "bench" / "schemathesis" / "schemathesis.toml"
    options = {
        "--workers": 1,
        f"--{bound[0]}": bound[1],
        "--seed": seed,
        "--header": f"Authorization: Bearer {token}",
        "--exclude-path-regex": "^/(ws$|pipelines/)",
        "--exclude-checks": "use_after_free,missing_required_header",
        "--generation-database": "none",
    }
    program = [str(Path(sys.executable).parent / "st"), "--config-file", str(config), "run", "--no-color"]
    return [*program, f"{url}/openapi.json", *(str(word) for pair in options.items() for word in pair)]


def environment(origin: str) -> dict[str, str]:
    """Return the environment: the upstream to which the hooks point URLs, and one order of sets for each run."""
    return {**os.environ, "SLUICE_ORIGIN": origin, "PYTHONPATH": str(_ROOT), "PYTHONHASHSEED": "0"}


def run(options: Namespace) -> dict[str, Any]:
    """Start an origin and a service, let schemathesis at them, and return how many cases found what."""
    origin = Child([sys.executable, "-m", "loadtest", "origin", "--port", "18401"], core=1)
    serve = ("--port", "18400", "--allow-net", "127.0.0.0/8", "--allow-port", "18401", "--drain", "1")
    service = Child([sys.executable, "-m", "service", "serve", *serve], core=0, env={"SLUICE_TOKEN": _TOKEN})
    try:
        origin.line(), service.line()
        reported = subprocess.run(
            command("http://127.0.0.1:18400", ("max-time", options.seconds), options.seed),
            env=environment("http://127.0.0.1:18401"), capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        service.stop()
        origin.stop()
    print(reported.stdout)
    cases = re.search(r"(\d+) generated", reported.stdout)
    return {"seconds": options.seconds, "cases": int(cases[1]) if cases else 0, "passed": reported.returncode == 0}
