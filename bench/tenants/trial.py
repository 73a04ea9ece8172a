"""One row: the careful client beside the attacker at another service, alone, and beside the attacker at its own.

The other service shares the core of the first, as the attacker's part of one service does: what the careful client
notices of it is the machine's, however well one service shares itself out.
"""

import json
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import jwt

from bench.processes import Child
from bench.reliability.stage import Stage
from bench.reliability.trial import Outcome, Scene, Window
from bench.tenants.alone import Alone
from bench.tenants.rows import Row
from bench.tenants.seen import Seen
from bench.tenants.values import BOUND, FAR
from bench.tenants.verdict import Times, Verdict, grows, judge

__all__ = ["Figures", "Trial", "control_seconds", "row_seconds"]

_ALONE: Final = 4.0
"""Seconds of the careful client alone in each row; those of the two rows before count with them."""
_CONTROL: Final = 1 / 6
"""Seconds beside the attacker at another service, for each at its own."""
_LEAST: Final = 6.0
_REST: Final = 1.0
"""Seconds after them: the other service is gone, and what waited for a core has had it."""
_ROUND: Final = 9.0
"""Seconds that a row takes beside those, where all is back at once; up to a minute more where it is not."""
_WARM: Final = 3.5
"""Seconds until every watch is polled in step."""
_READERS: Final = 100
_BACK: Final = 30.0
"""Seconds within which all is as before: what was kept for later is kept for 5 here."""
_OPTIONS: Final = (
    "--allow-net", "127.0.0.0/8", "--allow-net", "::1/128", "--trust-proxy", "127.0.0.1/32",
    "--batch-age", "5", "--ring-age", "5", "--drain", "1",
)  # fmt: skip

_REPEATED: Final = ("--cache-size", "8MiB")
"""Where an attack is repeated: a larger cache would grow by 7 MiB an attack, with answers to the careful client."""


def control_seconds(seconds: float) -> float:
    """Return for how long the attacker is at another service."""
    return max(_LEAST, seconds * _CONTROL)


def row_seconds(seconds: float, attacks: int = 1) -> float:
    """Return how long a row takes, at least."""
    more = (attacks - 1) * seconds + attacks * _BACK if attacks > 1 else 0.0
    return _WARM + control_seconds(seconds) + _REST + _ALONE + seconds + _ROUND + more


@dataclass(frozen=True, slots=True)
class Figures:
    """The outcome of a row."""

    outcome: Outcome
    verdict: Verdict
    alone: Times
    attacked: Times
    control: Times
    wrong: dict[str, int]
    wrong_alone: dict[str, int]
    answered: dict[str, float]
    back: float | None
    """Seconds until the careful client noticed nothing any more."""
    kept_mib: list[float]
    """How much more memory is in use 30 s after each attack than before the first one, where it was repeated."""


class Trial:
    """Carries rows out, one after another: what the careful client is alone is measured in several of them."""

    def __init__(self, port: int, seconds: float, attacks: int = 1) -> None:
        """Carry out each attack ``attacks`` times, at one service."""
        self._port = port
        self._seconds = seconds
        self._attacks = attacks
        self._alone = Alone()

    def run(self, row: Row) -> Figures:
        """Carry out a row; raises OSError, RuntimeError and ValueError where it cannot be measured."""
        port, secret = self._port, secrets.token_hex(32)
        near, far, other = port + 1, port + 2, port + 3
        more = _REPEATED if self._attacks > 1 else ()
        options = (*_OPTIONS, *more, "--allow-port", str(near), "--allow-port", str(far))
        token = _token(secret, "careful")

        def attacker(at: int, seconds: float) -> Child:
            return _client("attack", _token(secret, "attacker"), row.name, at, near, far, seconds, idle=True)

        with ExitStack() as stack:
            children = [_upstream(near, BOUND), _upstream(far, FAR, idle=True), _service(other, secret, options)]
            bads = [attacker(other, control_seconds(self._seconds))]
            bads += [attacker(port, self._seconds) for _ in range(self._attacks)]
            for child in (*children, *bads):
                # Nobody waits for what still runs of an attack.
                stack.callback(child.stop, 0)
            stage = stack.enter_context(
                Stage(Scene(port), *options, clients=_READERS, token=token, secret=secret, calm=0)
            )
            careful = _client("careful", token, port, near)
            stack.callback(careful.stop)
            for child in (*children, *bads, careful):
                child.line()
            time.sleep(_WARM)
            return self._measured(row, stage, careful, children[2], *bads)

    def _measured(
        self, row: Row, stage: Stage, careful: Child, other: Child, apart: Child, bad: Child, *again: Child
    ) -> Figures:
        control = self._control(stage, careful, apart)
        other.stop(0)
        time.sleep(_REST)
        before, alone = self._calm(stage, careful)
        print(f", {self._seconds:g} s beside the attacker", end="", flush=True)
        answer = _attacked(bad)
        window = stage.attacked()
        during = _seen(careful)
        attacked = _times(during, window)
        verdict = judge(alone, attacked, control, moment=row.moment)
        checks = {
            "no error, no refusal": not during.wrong,
            "nothing of another": not set(answer["serials"]) & (during.serials | before.serials),
            "each p99 in its bound": not verdict.over,
        }
        if row.reported and self._seconds >= row.takes:
            checks[f"answered {row.reported}"] = any(row.reported in text for text in answer["answered"])
        print(", and until all is back", flush=True)
        back = _back(careful, {name: both for name, both in alone.items() if name in before.took})
        checks["as before in time"] = back is not None
        ended = time.monotonic()
        outcome = stage.outcome(row.what, checks, factor=None, kept=row.kept << 20, within=_BACK)
        kept = _repeated(stage, ended, again) if again else []
        if kept:
            outcome.checks["no more memory after the last attack"] = not grows(kept)
        return Figures(
            outcome, verdict, alone, attacked, control, during.wrong, before.wrong, answer["answered"], back, kept
        )

    def _control(self, stage: Stage, careful: Child, apart: Child) -> Times:
        """Return what the careful client is beside an attacker of another service."""
        seconds = control_seconds(self._seconds)
        print(f"     {seconds:g} s beside the attacker at another service", end="", flush=True)
        stage.window()
        _seen(careful)
        _attacked(apart)
        window = stage.window()
        return _times(_seen(careful), window)

    def _calm(self, stage: Stage, careful: Child) -> tuple[Seen, Times]:
        """Return what the careful client sees alone in this row, and its usual times in this and the two before."""
        periods = list[Seen]()

        def measure() -> Times:
            print(f", {_ALONE:g} s alone", end="", flush=True)
            window = stage.calm_down(_ALONE)
            periods.append(_seen(careful))
            return _times(periods[-1], window)

        _seen(careful)
        usual = self._alone.usual(measure)
        return Seen.joined(periods), usual


def _times(seen: Seen, window: Window) -> Times:
    """Return the times of the careful client, and those of its readers."""
    return {**seen.summary(), "delivery": (window.p50, window.p99)}


def _attacked(attacker: Child) -> dict[str, Any]:
    """Have an attacker do what it does for its time; return what it was answered."""
    attacker.write_line("")
    answer: dict[str, Any] = json.loads(attacker.line())
    return answer


def _repeated(stage: Stage, ended: float, attackers: Sequence[Child]) -> list[float]:
    """Attack again and again; return the MiB more than in the calm, 30 s after the first attack and each other."""
    kept: list[float] = []
    for attacker in (*attackers, None):
        time.sleep(max(0.0, ended + _BACK - time.monotonic()))
        kept.append(round((stage.sampler.now().resident - stage.calm.resident) / (1 << 20), 1))
        print(f"     {kept[-1]:g} MiB more than before, {_BACK:g} s after attack {len(kept)}", flush=True)
        if attacker is not None:
            _attacked(attacker)
            ended = time.monotonic()
    return kept


def _back(careful: Child, usual: Times) -> float | None:
    """Return the seconds until the careful client notices nothing any more."""
    begin = time.monotonic()
    while time.monotonic() < begin + _BACK:
        time.sleep(1.0)
        if _seen(careful).as_before(usual):
            return time.monotonic() - begin
    return None


def _seen(careful: Child) -> Seen:
    careful.write_line("")
    return Seen.of(json.loads(careful.line()))


def _upstream(port: int, hosts: tuple[str, ...], *, idle: bool = False) -> Child:
    return Child([sys.executable, "-m", "bench.tenants.upstream", str(port), *hosts], core=1, idle=idle)


def _service(port: int, secret: str, options: tuple[str, ...]) -> Child:
    """Start the other service, on the core of the first."""
    argv = [sys.executable, "-m", "service", "serve", "--port", str(port), *options]
    return Child(argv, core=0, env={"SLUICE_JWT_SECRET": secret}, apart=True)


def _client(module: str, token: str, *arguments: object, idle: bool = False) -> Child:
    argv = [sys.executable, "-m", f"bench.tenants.{module}", *map(str, arguments)]
    return Child(argv, core=1, idle=idle, env={"TOKEN": token})


def _token(secret: str, subject: str) -> str:
    """Return a signed token that may do everything."""
    claims = {"sub": subject, "exp": int(time.time()) + 86_400, "subscribe": ["*"], "publish": ["*"],
              "fetch": True, "watch": True}  # fmt: skip
    return jwt.encode(claims, secret, "HS256")
