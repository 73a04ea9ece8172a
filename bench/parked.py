"""Parked: what a step of the plan costs while 100,000 URLs wait for a host, and how late the loop is."""

import http.client
import json
import sys
from argparse import ArgumentParser, Namespace
from statistics import median
from time import perf_counter
from typing import Any, Final

from bench.delays import delays, more, percentile
from bench.processes import Child, settle
from service.core.fetching.batch import Batch, BatchLimits, Keep
from service.core.fetching.dial_policy import Policy
from service.core.fetching.host_limiter import HostLimiter
from service.core.fetching.outcome import Permit
from service.core.fetching.plan import FetchPlan
from service.core.fetching.request import Options
from service.core.fetching.task import Turn
from service.core.owner import Owner
from service.core.topics.topic import Topic

__all__ = ["add_options", "run"]

_FEW: Final = 10
_A_BATCH: Final = 500
"""URLs of one batch that may wait at once."""
_PLACES: Final = 20
"""Requests that a host gets at once: what waits is beyond those."""
_PORT: Final = 18500


def add_options(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--parked", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=20_000, help="of the plan alone, in each round")
    parser.add_argument("--batches", type=int, default=60, help="of 50 URLs that are fetched, in each round")
    parser.add_argument("--rounds", type=int, default=7)


def run(options: Namespace) -> dict[str, Any]:
    """Measure, print the table, and return the figures."""
    plans = {count: _Planned(count) for count in (_FEW, options.parked)}
    steps = [{count: one.step(options.steps) for count, one in plans.items()} for _ in range(options.rounds)]
    served = _served(options)
    rows = []
    print(f"{'parked':>8}{'us a step':>11}{'CPU us a URL':>14}{'loop late, ms: p50':>20}{'p99':>7}{'max':>7}")
    for count in plans:
        step = median(one[count] for one in steps) * 1e6
        row = {"parked": count, "step_us": step, **served[count]}
        rows.append(row)
        print(
            f"{count:8}{step:11.2f}{row['cpu_us']:14.0f}{row['lag_p50_ms']:20.1f}{row['lag_p99_ms']:7.1f}"
            f"{row['lag_max_ms']:7.1f}"
        )
    ratio = median(one[options.parked] / one[_FEW] for one in steps)
    print(f"a step with {options.parked:,} parked costs {ratio:.2f} times that with {_FEW}")
    return {"table": rows, "ratio": ratio}


class _Listener:
    """Nobody asks it: each step uses the turn that the plan gives."""

    def admit(self, group: object) -> Permit:
        return Permit.START

    def succeeded(self, *outcome: object, shared: bool) -> None:
        raise NotImplementedError

    def failed(self, *outcome: object) -> None:
        raise NotImplementedError


class _Planned:
    """The plan alone: many URLs wait at ten hosts that never answer, and one is asked for elsewhere."""

    def __init__(self, parked: int) -> None:
        limits = BatchLimits(active=10_000, active_per_client=_A_BATCH, active_per_host=1, hosts_shared=True)
        self._plan = FetchPlan(limits, Policy(), HostLimiter(1, chance=lambda: 1.0, shared=True))
        for number in range(-(-parked // _A_BATCH)):
            count = min(_A_BATCH, parked)
            urls = [f"http://h{one % 10}.example/{number}-{one}" for one in range(count)]
            self._plan.add(self._batch(f"p{number}", urls))
        while not isinstance(decision := self._plan.next(0.0), float):
            if isinstance(decision, Turn):
                self._plan.start(decision, 0.0)
        self.waiting = self._plan.parking.waiting

    def _batch(self, name: str, urls: list[str]) -> Batch:
        options = Options(concurrency=_A_BATCH, timeout=300.0)
        topic = Topic(f"batch:{name}", "e", None)
        return Batch(name, topic, Owner(name), Keep.DETACHED, urls, options, 0.0, _Listener())

    def step(self, count: int) -> float:
        """Return the seconds of one URL's start and end, of a batch with ``count``."""
        batch = self._batch("free", ["http://free.example/"] * count)
        self._plan.add(batch)
        begin = perf_counter()
        for _ in range(count):
            turn = self._plan.next(0.0)
            assert isinstance(turn, Turn)
            task = self._plan.start(turn, 0.0)
            assert task is not None
            self._plan.free(task)
            self._plan.landed(task)
        took = perf_counter() - begin
        self._plan.remove(batch)
        return took / count


def _served(options: Namespace) -> dict[int, dict[str, float]]:
    """Ask two services for batches by turns, beside few and many URLs that wait."""
    origins = [
        Child([sys.executable, "-m", "loadtest", "origin", "--port", str(_PORT + number)], core=1)
        for number in (0, 1)
    ]
    services: dict[int, _Service] = {}
    try:
        for child in origins:
            child.line()
        for number, count in enumerate((_FEW, options.parked)):
            services[count] = _Service(_PORT + 2 + number)
            services[count].park(count)
        for _ in range(options.rounds):
            for one in services.values():
                one.round(options.batches)
        return {count: one.figures() for count, one in services.items()}
    finally:
        for child in [*origins, *(one.child for one in services.values())]:
            child.stop()


class _Service:
    def __init__(self, port: int) -> None:
        self.child = Child(
            [sys.executable, "-m", "service", "serve", "--port", str(port), "--allow-net", "127.0.0.0/8",
             "--allow-port", str(_PORT), "--allow-port", str(_PORT + 1), "--upstream", "2000"],
            core=0,
        )  # fmt: skip
        self.child.line()
        self._port = port
        self._used: list[float] = []
        self._late: dict[float, float] = {}

    def park(self, count: int) -> None:
        """Begin batches of which ``count`` URLs wait for a host that never answers."""
        left = count + _PLACES
        while left > 0:
            urls = [f"http://127.0.0.1:{_PORT}/hostile/never-answers?{left}-{one}" for one in range(_A_BATCH)]
            answer = self._post(urls[:left], {"Prefer": "respond-async"}, timeout=300, concurrency=_A_BATCH)
            if answer.status != 202:
                raise RuntimeError(f"{answer.status}: {answer.read()[:300]!r}")
            left -= _A_BATCH

    def round(self, batches: int) -> None:
        """Fetch some batches from a host that answers."""
        settle(self.child)
        before, late = self.child.cpu(), delays(self._port)
        for number in range(batches):
            urls = [f"http://127.0.0.1:{_PORT + 1}/bytes/1000?{number}-{one}" for one in range(50)]
            document = json.load(self._post(urls, {}, timeout=10, concurrency=100))
            if document["ok"] != 50:
                raise RuntimeError(f"{document}"[:500])
        self._used.append((self.child.cpu() - before) / (batches * 50) * 1e6)
        more(self._late, late, delays(self._port))

    def figures(self) -> dict[str, float]:
        """Return the CPU of a URL, and how late the loop was."""
        total = max(self._late.values())
        most = min(bound for bound, looks in self._late.items() if looks == total)
        return {
            "cpu_us": median(self._used), "lag_p50_ms": percentile(self._late, 0.5) * 1000,
            "lag_p99_ms": percentile(self._late, 0.99) * 1000, "lag_max_ms": most * 1000,
        }  # fmt: skip

    def _post(
        self, urls: list[str], headers: dict[str, str], *, timeout: float, concurrency: int
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        body = json.dumps(
            {"urls": urls, "options": {"timeout": timeout, "concurrency": concurrency, "cache": "no-store"}}
        )
        connection.request("POST", "/fetch-batch", body, {"Content-Type": "application/json", **headers})
        return connection.getresponse()
