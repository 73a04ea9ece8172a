"""Tenants: a careful client beside one that wants everything; docs/tenants.md."""

import json
import os
import resource
import secrets
import signal
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import jwt

from bench.processes import Child
from bench.reliability.stage import Stage
from bench.reliability.table import Table, machine
from bench.reliability.trial import Outcome, Scene
from bench.tenants.rows import BY_NAME, ROWS, Row
from bench.tenants.seen import Seen
from bench.tenants.values import BOUND, FAR

__all__ = ["TABLE", "add_options", "run"]

_PORT: Final = 18900
_CALM: Final = 1 / 6
"""Seconds of the careful client alone, for each second beside the attacker."""
_LEAST: Final = 10.0
_ROUND: Final = 13.0
"""Seconds that a row takes beside those two, where all is back at once; up to a minute more where it is not."""
_WARM: Final = 4.0
"""Seconds until every watch is polled in step."""
_READERS: Final = 100
_BACK: Final = 30.0
"""Seconds within which all is as before: what was kept for later is kept for 5 here."""
_MOST_MS: Final = 250.0
"""Milliseconds of an attack of one moment."""
_OPTIONS: Final = (
    "--allow-net", "127.0.0.0/8", "--allow-net", "::1/128", "--trust-proxy", "127.0.0.1/32",
    "--batch-age", "5", "--ring-age", "5",
)  # fmt: skip
TABLE: Final = Table(
    "./x bench tenants --write docs/tenants.md",
    ("attack", "rules", "errors", "fetch, ms: p50, p99", "publish", "delivery p99", "watch", "connect",
     "loop lag, ms", "more memory, MiB", "back, s", "what the attacker was answered", "run"),
    lambda name: list(BY_NAME).index(name.split()[1]),
)  # fmt: skip


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--seconds", type=float, default=60.0, help="of each attack (default 60)")
    parser.add_argument("--only", action="append", choices=list(BY_NAME), help="repeatable")
    parser.add_argument("--port", type=int, default=_PORT, help="this one and the two after it are used")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the rows into the table of this document")


def run(options: Namespace) -> dict[str, Any]:
    """Have each attacker beside the careful client, print what that noticed, and return the figures."""
    where = f"{machine()}, load {os.getloadavg()[0]:.1f} before"
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    # A run that is ended ends what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # The server has core 0.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    mark = f"{datetime.now(UTC):%Y-%m-%d}, {options.seconds:g} s"
    rows = [row for row in ROWS if options.only is None or row.name in options.only]
    each = max(_LEAST, options.seconds * _CALM) + options.seconds + _ROUND
    print(f"{len(rows)} attacks, {each * len(rows) / 60:.0f} minutes at least", flush=True)
    attacks: dict[str, Any] = {}
    for number, row in enumerate(rows, start=1):
        print(f"[{number}/{len(rows)}] {row.kind} {row.name}: {row.what}", flush=True)
        try:
            outcome, figures = _one(row, options)
        except (OSError, RuntimeError, ValueError) as error:
            # One row that cannot be measured says nothing of the others.
            print(f"     NOT measured: {type(error).__name__}: {error}", flush=True)
            attacks[row.name] = {"checks": {"measured": False}, "why": str(error)}
            continue
        _show(outcome, figures)
        attacks[row.name] = {**figures, "checks": outcome.checks}
        if options.write is not None:
            cells = _cells(row, outcome, figures, mark)
            options.write.write_text(TABLE.written(options.write.read_text(), [cells], where))
    passed = sum(all(one["checks"].values()) for one in attacks.values())
    print(f"{passed} of {len(attacks)} passed ({where})")
    return {"machine": where, "seconds": options.seconds, "attacks": attacks}


def _one(row: Row, options: Namespace) -> tuple[Outcome, dict[str, Any]]:
    near, far, secret = options.port + 1, options.port + 2, secrets.token_hex(32)
    tokens = {name: _token(secret, name) for name in ("careful", "attacker")}
    allowed = ("--allow-port", str(near), "--allow-port", str(far))
    with (
        _upstream(near, BOUND),
        _upstream(far, FAR, idle=True),
        Stage(
            Scene(options.port), *_OPTIONS, *allowed, clients=_READERS, token=tokens["careful"], secret=secret
        ) as stage,
        _client("careful", tokens["careful"], stage.port, near) as careful,
        _client("attacker", tokens["attacker"], row.name, stage.port, near, far, options.seconds, idle=True) as bad,
    ):
        calm = max(_LEAST, options.seconds * _CALM)
        print(f"     {calm:g} s alone", end="", flush=True)
        time.sleep(_WARM)
        _seen(careful)
        stage.calm_down(calm)
        before = _seen(careful)
        print(f", {options.seconds:g} s beside the attacker", end="", flush=True)
        bad.say("")
        answer = json.loads(bad.line())
        stage.attacked()
        during = _seen(careful)
        checks = {
            "no error, no refusal": not during.wrong,
            "nothing of another": not set(answer["serials"]) & (during.serials | before.serials),
            **_in_time(row, before, during),
        }
        if row.reported:
            checks[f"answered {row.reported}"] = any(row.reported in text for text in answer["answered"])
        print(", and until all is back", flush=True)
        back = _back(careful, before)
        checks["as before in time"] = back is not None
        outcome = stage.outcome(
            row.what, checks, factor=None if row.moment else 1.5, kept=row.kept << 20, within=_BACK
        )
    figures = {
        "before": before.summary(), "during": during.summary(), "wrong": dict(during.wrong),
        "wrong_before": dict(before.wrong), "answered": answer["answered"], "back_s": back,
        "delivery_p99_ms": [round(window.p99, 1) for window in outcome.control or ()],
        "lag_ms": outcome.lag_ms, "more_mib": outcome.more_resident_mib, "recovered_s": outcome.recovered,
    }  # fmt: skip
    return outcome, figures


def _in_time(row: Row, before: Seen, during: Seen) -> dict[str, bool]:
    """Hold every p99 against that of the time before."""
    if row.moment:
        return {f"each p99 below {_MOST_MS:g} ms more": during.within(before, 1.0, _MOST_MS)}
    return {"each p99 within 1.5 x": during.within(before, 1.5)}


def _back(careful: Child, before: Seen) -> float | None:
    """Return the seconds until the careful client notices nothing any more."""
    begin = time.monotonic()
    while time.monotonic() < begin + _BACK:
        time.sleep(1.0)
        now = _seen(careful)
        if not now.wrong and now.within(before, 1.5):
            return time.monotonic() - begin
    return None


def _seen(careful: Child) -> Seen:
    careful.say("")
    return Seen.of(json.loads(careful.line()))


@contextmanager
def _upstream(port: int, hosts: tuple[str, ...], *, idle: bool = False) -> Iterator[None]:
    child = Child([sys.executable, "-m", "bench.tenants.upstream", str(port), *hosts], core=1, idle=idle)
    try:
        child.line()
        yield
    finally:
        child.stop()


@contextmanager
def _client(module: str, token: str, *arguments: object, idle: bool = False) -> Iterator[Child]:
    argv = [sys.executable, "-m", f"bench.tenants.{module}", *map(str, arguments)]
    child = Child(argv, core=1, idle=idle, env={"TOKEN": token})
    try:
        child.line()
        yield child
    finally:
        child.stop()


def _token(secret: str, subject: str) -> str:
    """Return a signed token that may do everything."""
    claims = {"sub": subject, "exp": int(time.time()) + 86_400, "subscribe": ["*"], "publish": ["*"],
              "fetch": True, "watch": True}  # fmt: skip
    return jwt.encode(claims, secret, "HS256")


def _show(outcome: Outcome, figures: dict[str, Any]) -> None:
    for name, holds in outcome.checks.items():
        if not holds:
            print(f"     NOT {name}")
    for name, (p50, p99) in figures["during"].items():
        was = figures["before"].get(name, (0.0, 0.0))
        print(f"     {name:8} p50 {was[0]:7.1f} -> {p50:7.1f}   p99 {was[1]:7.1f} -> {p99:7.1f} ms")
    print(f"     delivery p99 before, during, after: {figures['delivery_p99_ms']} ms; loop lag "
          f"{figures['lag_ms']:.0f} ms; memory +{figures['more_mib']:.0f} MiB; back after {figures['back_s']} s, "
          f"all after {figures['recovered_s']} s")  # fmt: skip
    print(f"     wrong: {figures['wrong']}; before: {figures['wrong_before']}")
    print(f"     answered: {figures['answered']}", flush=True)


def _cells(row: Row, outcome: Outcome, figures: dict[str, Any], mark: str) -> list[str]:
    def times(name: str) -> str:
        before, during = (figures[when].get(name, (0.0, 0.0)) for when in ("before", "during"))
        return f"{before[0]:.3g}, {before[1]:.3g} → {during[0]:.3g}, {during[1]:.3g}"

    held = sum(outcome.checks.values())
    broken = "".join(f"; **not: {name}**" for name, holds in outcome.checks.items() if not holds)
    most = sorted(figures["answered"].items(), key=lambda pair: -pair[1])[:_REPORTED]
    return [
        f"{row.kind} {row.name}", f"{held} of {len(outcome.checks)}{broken}",
        str(sum(figures["wrong"].values())), times("fetch"), times("publish"),
        " → ".join(f"{one:.3g}" for one in figures["delivery_p99_ms"][:2]), times("watch"), times("connect"),
        f"{figures['lag_ms']:.0f}", f"{figures['more_mib']:.0f}",
        "no" if figures["back_s"] is None or outcome.recovered is None
        else f"{max(figures['back_s'], outcome.recovered):.0f}",
        "; ".join(f"{text}: {count:,.0f}" for text, count in most), mark,
    ]  # fmt: skip


_REPORTED: Final = 4
"""Answers that the table has of an attacker: the most frequent."""
