"""The other end: what the server's process, its kernel and its own figures say while it is under load."""

import asyncio
import resource
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Any

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families

from loadtest.clock import ServerClock
from loadtest.endpoint import Endpoint
from loadtest.report import RunReport
from loadtest.server_processes import listening_processes

__all__ = ["Server"]

_TIMEOUT = aiohttp.ClientTimeout(total=2)
_MIB = 1 << 20
_METRICS = {
    "sluice_loop_lag_seconds": ("server_lag_ms", 1000.0),
    "sluice_connections": ("server_connections", 1.0),
    "sluice_stalled_connections": ("server_stalled", 1.0),
    "sluice_fetches_active": ("server_fetches", 1.0),
}
"""What is drawn of the service's own figures: name, and what a value is multiplied by."""
_OWN_HISTOGRAM = "sluice_delivery_seconds"


class Server:
    """Looks once a second. What cannot be seen is left out of the report, and said once."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        pid: int = 0,
        origin: str = "",
        credentials: bool = False,
        restarts: bool = False,
    ) -> None:
        self._endpoint = endpoint
        self._origin = origin.rstrip("/")
        # They are for whom the run is about; /metrics may be answered by somebody else.
        self._headers = endpoint.fields if credentials else None
        self._pid = pid
        self._processes: list[psutil.Process] = []
        self._session: aiohttp.ClientSession | None = None
        self._has_metrics, self._answered = True, False
        self._cpu: tuple[float, float] = (0.0, 0.0)
        self._marks: dict[str, tuple[float, float]] = {}
        self._before: dict[str, float] = {}
        self._highest: dict[str, float] = {}
        self.clock = ServerClock()
        self._histogram: dict[float, float] = {}
        self._ledger: dict[str, float] = {}
        self._restarts = restarts
        self.notes: list[str] = []

    async def first(self) -> None:
        """Find the process, and see how everything is before the load."""
        connector = aiohttp.TCPConnector(ssl=self._endpoint.tls or True)
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT, connector=connector)
        self._processes = await asyncio.to_thread(listening_processes, self._endpoint.base, self._pid)
        if not self._processes:
            self.notes.append(
                "the server's CPU and memory are not in this report: no process of this machine (that this user "
                "may look into) listens there; --server-pid names one"
            )
        self._ledger = await self._read_ledger()
        self._highest.clear()
        self._marks.clear()
        self._before = await self.sample()
        self._histogram = await self._own_histogram()

    def restarted(self) -> None:
        """Learn that the service is another process."""
        self._processes = listening_processes(self._endpoint.base)
        self._cpu = (0.0, 0.0)

    async def sample(self) -> dict[str, float]:
        """Return the gauges of now."""
        gauges = await asyncio.to_thread(self._sample)
        for family in await self._metrics():
            if family.name in _METRICS and family.samples:
                name, factor = _METRICS[family.name]
                gauges[name] = round(family.samples[0].value * factor, 3)
        for name, value in gauges.items():
            self._highest[name] = max(self._highest.get(name, 0.0), value)
        return gauges

    def mark(self, name: str) -> None:
        """Note the server's CPU time at the begin and the end of the load."""
        self._marks[name] = (monotonic(), _cpu(self._processes))

    async def finish(self, report: RunReport) -> None:
        """Put the figures of the whole run into the report, and close everything."""
        await self.sample()
        gauges = report.gauges
        clients = max((moment.get("clients", 0.0) for moment in report.timeline), default=0.0)
        for name in ("server_rss_mib", "server_fds", "server_lag_ms", "kernel_tcp_mib"):
            if name in self._highest:
                gauges[f"{name}_max"] = self._highest[name]
        for name in ("server_rss", "kernel_tcp"):
            if clients and f"{name}_mib" in self._before:
                grown = self._highest[f"{name}_mib"] - self._before[f"{name}_mib"]
                gauges[f"{name}_per_connection_kib"] = round(max(grown, 0.0) * 1024 / clients, 2)
        begin, end = self._marks.get("begin"), self._marks.get("end")
        if begin and end and self._processes and end[0] > begin[0] and not self._restarts:
            gauges["server_cpu_percent"] = round((end[1] - begin[1]) / (end[0] - begin[0]) * 100, 2)
        await self._compare(report)
        after = await self._read_ledger()
        gauges |= {f"origin_{name}": value - self._ledger.get(name, 0.0) for name, value in after.items()}
        for text in self.notes:
            report.note(text)
        if self._session is not None:
            await self._session.close()

    def _sample(self) -> dict[str, float]:
        gauges = {"kernel_tcp_mib": _kernel_mib()}
        try:
            rss = sum(process.memory_info().rss for process in self._processes) / _MIB
            fds = float(sum(process.num_fds() for process in self._processes))
        except psutil.Error:
            if not self._restarts:
                self.notes.append("the server's process has ended during the run, or may not be looked into")
            self._processes = []
        if not self._processes:
            return gauges
        now, cpu = monotonic(), _cpu(self._processes)
        share = (cpu - self._cpu[1]) / max(now - self._cpu[0], 1e-9) * 100 if self._cpu[0] else 0.0
        self._cpu = (now, cpu)
        return {"server_cpu_percent": round(share, 1), "server_rss_mib": round(rss, 2), "server_fds": fds, **gauges}

    async def _metrics(self) -> list[Any]:
        """Return the families of ``/metrics``; nothing from a server that has no such thing."""
        if self._session is None or not self._has_metrics:
            return []
        asked = self.clock.now()
        try:
            async with self._session.get(
                f"{self._endpoint.base}/metrics",
                headers=self._headers,
                server_hostname=self._endpoint.http_server_name,
                allow_redirects=False,
            ) as answer:
                self.clock.observe(answer.headers.get("Date"), asked)
                text = await answer.text()
                self._has_metrics = self._answered = answer.status == 200
                if answer.status in (401, 403) and self._headers is None:
                    self.notes.append("the server's /metrics needs credentials: --metrics-credentials shows ours")
                return list(text_string_to_metric_families(text)) if answer.status == 200 else []
        except (aiohttp.ClientError, TimeoutError):
            # Too busy, or gone: the workers will say so with more right. Who has never answered is not asked again.
            self._has_metrics = self._answered
            return []
        except ValueError:
            self._has_metrics = False
            return []

    async def _own_histogram(self) -> dict[float, float]:
        """Return the service's cumulative counts of publish to write by upper bound in seconds."""
        for family in await self._metrics():
            if family.name == _OWN_HISTOGRAM:
                buckets = (sample for sample in family.samples if sample.name.endswith("_bucket"))
                return {float(sample.labels["le"]): sample.value for sample in buckets}
        return {}

    async def _compare(self, report: RunReport) -> None:
        """Say what the service's own histogram has at the percentiles that the clients are judged by."""
        after = await self._own_histogram()
        counts = {bound: value - self._histogram.get(bound, 0.0) for bound, value in sorted(after.items())}
        # A service that was started again counts from zero.
        total = 0.0 if self._restarts else max(counts.values(), default=0.0)
        if total and "delivery" in report.latencies:
            report.gauges["server_writes"] = total
            for name, share in (("p50", 0.5), ("p99", 0.99)):
                report.gauges[f"server_delivery_{name}_ms"] = round(_quantile(counts, share * total) * 1000, 3)

    async def _read_ledger(self) -> dict[str, float]:
        if not self._origin or self._session is None:
            return {}
        try:
            async with self._session.get(f"{self._origin}/ledger") as answer:
                document = await answer.json(content_type=None)
                return {name: float(document[name]) for name in ("requests", "conditional", "not_modified")}
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError):
            self.notes.append(f"{self._origin}/ledger cannot be read: nothing is known of the origin's requests")
            return {}


def _quantile(counts: dict[float, float], rank: float) -> float:
    """Return the value at a rank of a cumulative histogram; inside a bucket in a straight line, as Prometheus."""
    low = under = 0.0
    for bound, count in counts.items():
        if count >= rank:
            return low if bound == float("inf") else low + (bound - low) * (rank - under) / max(count - under, 1e-9)
        low, under = bound, count
    return low


def _cpu(processes: Iterable[psutil.Process]) -> float:
    try:
        return float(sum(times.user + times.system for times in (process.cpu_times() for process in processes)))
    except psutil.Error:
        return 0.0


def _kernel_mib() -> float:
    """Return what ``/proc/net/sockstat`` says of all TCP sockets here: of both ends, if both are here."""
    try:
        fields = Path("/proc/net/sockstat").read_text().split("TCP:")[1].split("\n")[0].split()
    except (OSError, IndexError):
        return 0.0
    return int(fields[fields.index("mem") + 1]) * resource.getpagesize() / _MIB
