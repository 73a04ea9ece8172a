"""Conformance: Autobahn|Testsuite (301 cases without compression) and h1spec, against the running service."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from bench.processes import Child
from bench.suites import autobahn, h1spec
from bench.suites.tool import Missing

__all__ = ["add_options", "run"]


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--port", type=int, default=18700)
    parser.add_argument(
        "--h1spec", type=Path, default=Path(".bench/h1spec"), metavar="FOLDER", help="a checkout of h1spec"
    )
    parser.add_argument("--reports", type=Path, default=Path(".bench/autobahn-reports"), metavar="FOLDER")


def run(options: Namespace) -> dict[str, Any]:
    """Run what can be run here, print the verdicts, and return them."""
    server = Child(
        [sys.executable, "-m", "service", "serve", "--port", str(options.port), "--echo-route",
         "--allow-host", "example.com"],
        core=0,
    )  # fmt: skip
    try:
        server.line()
        return {"autobahn": _autobahn(options), "h1spec": _h1spec(options)}
    finally:
        server.stop()


def _autobahn(options: Namespace) -> dict[str, Any] | None:
    try:
        report = autobahn.judge(f"ws://127.0.0.1:{options.port}/echo", options.reports, autobahn.WITHOUT_DEFLATE)
    except Missing as missing:
        print(f"left out: {missing}")
        return None
    counts = dict(report.counts)
    print(f"Autobahn|Testsuite, {len(report.cases)} cases: {counts}")
    for verdict in sorted(counts.keys() - {"OK"}):
        print(f"  {verdict}: {', '.join(report.those(verdict))}")
    return {"cases": len(report.cases), **counts}


def _h1spec(options: Namespace) -> dict[str, Any] | None:
    try:
        passed, count, failed = h1spec.judge(options.port, options.h1spec)
    except Missing as missing:
        print(f"left out: {missing}")
        return None
    print(f"h1spec: {passed} of {count}")
    for line in failed:
        print(f"  {line}")
    return {"cases": count, "passed": passed}
