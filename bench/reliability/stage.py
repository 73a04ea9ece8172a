"""The service in a process group of its own, with a control group of well-behaved clients that go on as usual."""

import json
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Any, Self

from bench.processes import Child, build, settle
from bench.reliability.sampler import Sample, Sampler
from bench.reliability.trial import Outcome, Scene, Window

__all__ = ["CONNECTION", "Stage"]

_RATE, _SIZE = 20.0, 200
_SUBSCRIBE = '{"jsonrpc":"2.0","method":"subscribe","params":{"topic":"t"}}'
_NOISE_MS = 5.0
"""What 99 % of latencies may differ by before a factor counts: below that the machine decides."""
_LATE_MS = 250.0
"""What docs/operations.md has an alarm for."""
_NOISE_MEMORY = 16 << 20
"""What the allocator may keep, where nothing else is said."""
CONNECTION = 14 << 10
"""What it keeps for later connections, for each one that there was: 5,000 clients that came, left and came again
took 105.3 and 105.5 MiB at most, and left 37 to 42 MiB (2026-11-26)."""


class Stage:
    """A running service, its control group and a sampler.

    Entering measures the calm before; ``attacked`` ends the time that counts as the attack, ``outcome`` waits for
    the recovery and sums up.
    """

    def __init__(
        self,
        scene: Scene,
        *options: str,
        program: Sequence[str] = ("-m", "service"),
        clients: int = 200,
        before: Sequence[str] = (),
        errors: IO[Any] | int | None = None,
        token: str = "",
        secret: str = "",
        calm: float = 3.0,
    ) -> None:
        """Start it; ``token`` is what ours show: the one that it asks for, or one signed with its ``secret``.

        ``calm`` is for how many seconds the calm is measured; with 0 the caller does that.
        """
        self.port = scene.port
        self.clients = clients
        argv = [*before, sys.executable, *program, "serve", "--port", str(self.port), *options]
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._env = {"SLUICE_TOKEN": token} if token else {}
        env = {"SLUICE_JWT_SECRET": secret} if secret else self._env
        self.child = Child(argv, core=0, env=env, apart=True, errors=errors)
        self._calm = calm
        self._windows: list[Window] = []
        self._received = self._repeated = 0

    def __enter__(self) -> Self:
        try:
            self.child.line()
            self._receivers = Child(
                [build("receiver"), "127.0.0.1", str(self.port), str(self.clients), "/ws", "sluice.v1", _SUBSCRIBE],
                core=1,
                env={"EXTRA_HEADERS": "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())},
            )
            self._receivers.line()
            argv = [sys.executable, "-m", "bench.reliability.publisher", str(self.port), str(_RATE), str(_SIZE)]
            self._publisher = Child(argv, core=1, env=self._env)
            self.sampler = Sampler(self.child, self.port, self._headers)
            if self._calm:
                # The first second pays for imports and caches.
                time.sleep(1.0)
                self.calm_down(self._calm)
        except BaseException:
            self.child.stop()
            raise
        return self

    def calm_down(self, seconds: float = 3.0) -> Window:
        """Measure how it is without an attack; again, where the load has changed."""
        self.window()
        time.sleep(seconds)
        self._windows = [self.window()]
        self.sampler.restart()
        self.calm = self.sampler.now()
        return self._windows[0]

    def window(self) -> Window:
        """Return what the control group received since the last look."""
        self._receivers.write_line("")
        reported = json.loads(self._receivers.line())
        self._received += reported["received"]
        self._repeated += reported["repeated"]
        return Window(
            reported["received"], reported["repeated"], reported["p50_ms"], reported["p99_ms"], reported["max_ms"]
        )

    @property
    def peak(self) -> Sample:
        """The highest figures since the calm."""
        return self.sampler.peak

    def attacked(self) -> Window:
        """End the attack: what comes from here on counts as recovery."""
        if len(self._windows) == 1:
            self._windows.append(self.window())
        return self._windows[1]

    def outcome(
        self,
        load: str,
        checks: dict[str, bool],
        *,
        factor: float | None = 1.2,
        kept: int = 0,
        within: float = 10.0,
        stock: str = "",
        **figures: Any,
    ) -> Outcome:
        """Wait at most ``within`` seconds for the recovery, and sum up.

        ``kept`` is what the allocator may keep beside 10 % and the usual, in bytes. ``factor`` bounds the control
        group's p99; None is for what takes the whole core for a moment: nobody may be later than that is worth
        an alarm.
        """
        before, during = self._windows[0], self.attacked()
        peak, lag = self.peak, self.sampler.lag_ms
        recovered, after = self._recover(before, kept, within)
        if factor is None:
            bound, rule = _LATE_MS, f"control p99 below {_LATE_MS:g} ms"
        else:
            bound, rule = before.p99 * factor + _NOISE_MS, f"control p99 within {factor} x"
        rules = {
            **checks,
            rule: during.p99 <= bound,
            "control lost nothing": (lost := self._lost()) == 0,
            f"recovered within {within:g} s": recovered is not None,
        }
        return Outcome(
            load=load,
            checks=rules,
            figures=figures,
            stock=stock,
            control=(before, during, after),
            lost=lost,
            recovered=recovered,
            more_resident_mib=(peak.resident - self.calm.resident) / (1 << 20),
            more_kernel_mib=(peak.kernel - self.calm.kernel) / (1 << 20),
            lag_ms=lag,
        )

    def _recover(self, before: Window, kept: int, within: float) -> tuple[float | None, Window]:
        """Return the seconds until everything is as before, and the last second of the control group."""
        begin = time.monotonic()
        while True:
            time.sleep(1.0)
            window, now = self.window(), self.sampler.now()
            bounds = {
                "descriptors": (now.descriptors, self.calm.descriptors + 2),
                "resident": (now.resident, self.calm.resident * 1.1 + _NOISE_MEMORY + kept),
                "control p99, ms": (window.p99, before.p99 * 1.2 + _NOISE_MS),
            }
            above = [
                f"{name} {value:,.0f} of {most:,.0f}" for name, (value, most) in bounds.items() if value > most
            ]
            seconds = time.monotonic() - begin
            if not above:
                return seconds, window
            if seconds > within:
                print(f"     not as before: {', '.join(above)}")
                return None, window

    def _lost(self) -> int:
        """Stop the publisher and return how many messages the control group is missing or had twice."""
        self._publisher.write_line("")
        sent = int(self._publisher.line())
        settle(self.child)
        self.window()
        return sent * self.clients - self._received + 2 * self._repeated

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sampler.stop()
        self._publisher.stop()
        self._receivers.stop()
        self.child.stop(15)
