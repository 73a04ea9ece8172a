"""One round: the workers started, their increments added up second by second, their outcome put together."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any

import orjson

from loadtest.clock import moment_text, wall_minus_monotonic
from loadtest.outcome import settle
from loadtest.report import RunReport
from loadtest.server import Server
from loadtest.worker_link import LINE, read_line
from service.runtime.python_path import command, environment

__all__ = ["Supervisor"]

_SECOND = 1.0
_STEP = 0.1
"""Seconds by which a clock may be corrected in passing."""
_PATIENCE = 10.0
"""Seconds that a worker has to end after the word to stop."""
_SILENCE = 60.0
"""Seconds without a word from a worker, which speaks every second, after which it is given up."""


class Supervisor:
    """Runs the workers of one round; ``each_second()`` is called while they run."""

    def __init__(
        self, options: dict[str, Any], report: RunReport, server: Server, each_second: Callable[[], None]
    ) -> None:
        self._options = options
        self._report = report
        self._server = server
        self._each_second = each_second
        self._workers: list[asyncio.subprocess.Process] = []
        self._gauges: list[dict[str, float]] = []
        self._meetings: dict[str, dict[int, Any]] = {}
        self._outcomes: list[dict[str, Any]] = []
        self._tell: dict[str, Callable[[Any], None]] = {
            "outcome": self._outcomes.append,
            "phase": report.turn,
            "note": report.note,
            "cannot": self.give_up,
            "began": self._begin,
        }
        self._began = self._ended = 0.0
        self._wall = wall_minus_monotonic()
        self._heard: dict[int, float] = {}
        self._stopped = False
        self.on_begun: Callable[[float], None] = lambda moment: None
        """Called with the moment at which the load begins."""
        self.cannot: str | None = None
        """Why the round could not be made, or not to its end."""

    async def run(self) -> None:
        """Run the round to its end."""
        count = self._options["processes"]
        self._gauges = [{} for _ in range(count)]
        await self._server.first()
        ticking = asyncio.create_task(self._seconds())
        try:
            async with asyncio.TaskGroup() as group:
                for index in range(count):
                    group.create_task(self._worker(index, count))
        finally:
            ticking.cancel()
            await asyncio.wait([ticking])
            for worker in self._workers:
                if worker.returncode is None:
                    worker.kill()
                    await worker.wait()
        await self._second()
        if self._began:
            self._report_times()
        self._report.findings += settle(self._report, self._outcomes, self._began)

    def _report_times(self) -> None:
        report, ended = self._report, max(self._ended or monotonic(), self._began)
        report.gauges["load_s"] = round(ended - self._began, 3)
        # By the clock as it was set at the begin: a later change of it is reported apart.
        began = self._began + self._wall
        report.load = {
            "began": moment_text(began),
            "ended": moment_text(began + ended - self._began),
            "at_s": round(report.since_began() - (monotonic() - self._began), 3),
            "clock_step_s": round(wall_minus_monotonic() - self._wall, 3),
            "ahead_of_server_s": self._server.clock.ahead,
        }
        if abs(report.load["clock_step_s"]) > _STEP:
            report.note(f"the clock of this machine was set by {report.load['clock_step_s']:+.1f} s during the run")

    def stop(self) -> None:
        """Have all workers end what they do, and tell what they have."""
        if self._stopped:
            return
        self._stopped = True
        for worker in self._workers:
            self._send(worker, {"stop": True})
        asyncio.get_running_loop().call_later(_PATIENCE, self._kill)

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.returncode is None:
                worker.kill()

    async def _worker(self, index: int, count: int) -> None:
        worker = await asyncio.create_subprocess_exec(
            *command("loadtest.worker"), env=environment(),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            # Ctrl-C is for the supervisor, which tells the workers in words.
            start_new_session=True, limit=LINE,
        )  # fmt: skip
        self._workers.append(worker)
        self._heard[index] = monotonic()
        self._send(worker, {"index": index, "count": count, "options": self._options})
        if self._stopped:
            self._send(worker, {"stop": True})
        assert worker.stdout is not None
        while (message := await read_line(worker.stdout)) is not None:
            self._heard[index] = monotonic()
            for kind, value in message.items():
                self._handle(index, worker, kind, value)
        code = await worker.wait()
        self._heard.pop(index, None)
        self._gauges[index] = {}
        if code:
            self.give_up(f"worker {index} ended with {code}: its last figures are missing")

    def _handle(self, index: int, worker: asyncio.subprocess.Process, kind: str, value: Any) -> None:
        if kind == "tick":
            self._gauges[index] = value.pop("gauges")
            self._report.add(value)
        elif kind == "meet":
            self._meet(index, *value)
        elif kind == "share":
            for other in self._workers:
                if other is not worker:
                    self._send(other, {"facts": value})
        else:
            self._tell[kind](value)

    def _meet(self, index: int, name: str, facts: Any) -> None:
        meeting = self._meetings.setdefault(name, {})
        meeting[index] = facts
        if len(meeting) < len(self._gauges):
            return
        del self._meetings[name]
        if name.endswith("end"):
            self._ended = monotonic()
            self._server.mark("end")
        for worker in self._workers:
            self._send(worker, {"met": [name, [meeting[number] for number in sorted(meeting)]]})

    def _begin(self, moment: float) -> None:
        """Learn when the load begins: soon, or when ``--start-at`` says."""
        if not self._began:
            self._began = moment
            self.on_begun(moment)
            asyncio.get_running_loop().call_later(max(0.0, moment - monotonic()), self._server.mark, "begin")

    def give_up(self, why: str) -> None:
        """End the round, because it cannot go on."""
        if self.cannot is None:
            self.cannot = why
        self.stop()

    def _send(self, worker: asyncio.subprocess.Process, message: dict[str, Any]) -> None:
        if worker.stdin is not None and not worker.stdin.is_closing():
            worker.stdin.write(orjson.dumps(message) + b"\n")

    async def _seconds(self) -> None:
        due = monotonic()
        while True:
            due += _SECOND
            await asyncio.sleep(max(0.0, due - monotonic()))
            await self._second()
            self._each_second()
            self._watch()

    def _watch(self) -> None:
        """Give up workers that say nothing any more: their loop is blocked."""
        for index, heard in list(self._heard.items()):
            if monotonic() - heard > _SILENCE:
                self.give_up(
                    f"worker {index} has said nothing for {_SILENCE:.0f} s: something blocks it, "
                    "such as an adapter that waits without await"
                )

    async def _second(self) -> None:
        gauges = {name: 0.0 for part in self._gauges for name in part}
        for part in self._gauges:
            for name, value in part.items():
                # A generator is as late as the latest of its processes.
                worst = name in ("own_lag_ms", "own_cpu_percent")
                gauges[name] = max(gauges[name], value) if worst else gauges[name] + value
        self._report.moment({**gauges, **await self._server.sample()})
