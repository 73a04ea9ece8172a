"""``./x bench [NAME]``: the figures of docs/performance.md, measured again."""

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from bench import (
    clients,
    conformance,
    drain,
    engine,
    fanout,
    fetch,
    floods,
    fuzz,
    generator,
    growth,
    idle,
    images,
    large,
    parked,
    quirks,
    rolling,
    schema,
    sse,
    storms,
    stuck,
    tsung,
    ways,
)
from bench.durability import command as durability
from bench.jobs import command as jobs
from bench.processes import CHECKOUT
from bench.reliability import command as reliability
from bench.tenants import command as tenants
from bench.work import command as work

_COMPARED = (
    fanout,
    fetch,
    engine,
    images,
    large,
    idle,
    growth,
    parked,
    stuck,
    storms,
    drain,
    floods,
    ways,
    generator,
    sse,
    tsung,
)
# These have their own documents, or take long: reliability hours at full size, tenants and work half of one.
_BY_NAME = (clients, rolling, conformance, durability, jobs, reliability, tenants, work, fuzz, quirks, schema)
_BENCHMARKS = {module.__name__.split(".")[1]: module for module in (*_COMPARED, *_BY_NAME)}


def main() -> int:
    """Run one benchmark, or all that compare; the figures are also written to bench-out/."""
    parser = argparse.ArgumentParser(prog="./x bench", description=__doc__)
    parser.add_argument(
        "--service", type=Path, metavar="DIR", help="measure the service of another checkout, with this bench"
    )
    commands = parser.add_subparsers(dest="name", metavar="BENCHMARK")
    for name, module in _BENCHMARKS.items():
        module.add_options(commands.add_parser(name, help=(module.__doc__ or "").split("\n")[0]))
    given = parser.parse_args()
    if given.service is not None:
        if not (given.service / "service" / "__main__.py").is_file():
            parser.error(f"--service: {given.service} is not a checkout of sluice")
        os.environ[CHECKOUT] = str(given.service.absolute())
    for name in [given.name] if given.name else list(_BENCHMARKS)[: len(_COMPARED)]:
        options = given if given.name else parser.parse_args([name])
        print(f"== {name}")
        figures = _BENCHMARKS[name].run(options)
        out = Path("bench-out")
        out.mkdir(exist_ok=True)
        now = datetime.now(UTC)
        (out / f"{name}-{now:%Y%m%d-%H%M%S}.json").write_text(
            json.dumps({"at": now.isoformat(), **figures}, indent=1)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
