"""What the parts of a running service share."""

import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from msgspec import to_builtins

from service.config import checks
from service.config.granting import credentials_of
from service.config.limits import (
    address_limits,
    networks,
    overload_rules,
    pipeline_limits,
    pipeline_options,
    socket_limits,
)
from service.config.settings import Settings, tls_context
from service.core.access.grants import Grant, HostPatterns
from service.core.fetching.batch import Batch, BatchRequest, Keep
from service.core.jobs.answers import JobCancel
from service.core.jobs.job import Job
from service.core.jobs.request import JobRequest
from service.core.memory_budget import MemoryBudget
from service.core.overload import Overload
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.ports import Refusals, Steps, WatchInterest
from service.core.topics.hub import Hub
from service.edge.access.admission import AdmissionControl
from service.edge.access.credentials import Credentials
from service.edge.access.middleware import AccessMiddleware
from service.edge.http.acceptor import Acceptor
from service.edge.pipelines.routes import PipelineRoutes
from service.edge.routes.streams import Streams
from service.edge.websocket.echo import LARGEST, Echo
from service.edge.websocket.endpoint import WebSockets
from service.jobs.jobs import Jobs
from service.jobs.slot_process import SlotGone, SlotUnusable
from service.jobs.slots import Slots
from service.jobs.views import accepted
from service.ops.drain import drain
from service.runtime.supervisor import Supervisor
from service.sources.batches import Batches
from service.sources.watches import Watches
from service.storage.opening import Keeping
from service.work.pipelines.pipelines import Pipelines
from service.work.step_runner import StepRunner

__all__ = ["Service"]

_log = logging.getLogger("sluice")


class Service:
    """What the parts share: it answers the sessions' calls, and knows how to stop."""

    def __init__(
        self, settings: Settings, hub: Hub, batches: Batches, watches: Watches, credentials: Credentials,
        memory: MemoryBudget, supervisor: Supervisor, storage: Keeping, steps: StepRunner, jobs: Jobs,
        pipelines: Pipelines,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.memory = memory
        self.hub = hub
        self.batches = batches
        self.watches = watches
        self.credentials = credentials
        self.overload = Overload(overload_rules(settings))
        self.admission = AdmissionControl(
            address_limits(settings),
            self.overload,
            exempt=networks(settings.exempt_net),
            trusted=networks(settings.trust_proxy),
            chance=random.random,
            memory=memory,
        )
        self.refusals: Refusals = Counter()
        self.access = AccessMiddleware(
            credentials,
            self.admission,
            hosts=settings.allow_host,
            origins=settings.allow_origin,
            connections=settings.connections,
            refusals=self.refusals,
            sockets=("/ws", "/pipelines/", *(("/echo",) if settings.echo_route else ())),
        )
        self.draining = False
        self.supervisor = supervisor
        self.storage = storage
        self.steps = steps
        self.jobs = jobs
        self.slots: Slots | None = None
        self.port = settings.port
        self.acceptor: Acceptor | None = None
        self.tls = tls_context(settings)
        self.streams = Streams(settings.heartbeat)
        limits, authorise = socket_limits(settings), self.access.authorise
        self.sockets = WebSockets(hub, self, limits, self.admission, authorise)
        runs = pipeline_options(settings).runs
        self.pipelines = PipelineRoutes(hub, pipelines, runs, patience=settings.heartbeat)
        self.pipeline_sockets = WebSockets(
            hub, self, pipeline_limits(settings), self.admission, authorise,
            pool=self.pipelines.pool, open_=self.pipelines.open,
        )  # fmt: skip
        self.endpoints = {"/ws": self.sockets, "/pipelines/": self.pipeline_sockets}
        if settings.echo_route:
            limits = replace(limits, message_size=LARGEST, patience=0.0)
            self.endpoints["/echo"] = WebSockets(hub, self, limits, self.admission, authorise, Echo())

    def fetch(self, request: BatchRequest, owner: Owner, grant: Grant) -> Batch:
        """Begin a batch for a WebSocket client."""
        return self.batches.start(request, owner=owner, keep=Keep.LINGER, grant=grant)

    def watch(
        self, url: str, every: float, select: str | None, hosts: HostPatterns, owner: Owner, steps: Steps
    ) -> WatchInterest:
        """Have a URL polled for one more watcher."""
        return self.watches.watch(url, every, select, hosts, owner, steps)

    def cancel(self, batch_id: str) -> int | Pending[int]:
        """End a batch."""
        return self.batches.cancel(batch_id)

    def job(self, request: JobRequest, owner: Owner, grant: Grant) -> Pending[dict[str, object]]:
        """Accept a job of a WebSocket client."""

        async def accept(stored: Callable[[Job], object]) -> Job:
            return (await self.jobs.accept(request, owner, grant, stored))[0]

        return self.jobs.answer(accept).then(lambda job: to_builtins(accepted(job, self.jobs.wall())))

    def cancel_job(self, job_id: str) -> Pending[dict[str, object]]:
        """Have a job never run, or stop."""
        return self.jobs.answer(lambda stored: self.jobs.cancel(job_id, stored)).then(
            lambda outcome: to_builtins(JobCancel(*outcome))
        )

    def authenticate(self, token: str) -> Grant:
        """Check new credentials."""
        return self.credentials.check(token)

    async def drain(self) -> None:
        """Refuse what is new, let what runs finish as far as the time goes, and end the rest."""
        self.draining = self.batches.draining = True
        self.jobs.drain()

        def stop_listening() -> None:
            if self.acceptor is not None:
                self.acceptor.close()

        await drain(
            self.settings.drain, self.sockets, self.streams, self.batches, self.jobs, self.pipeline_sockets,
            stop_listening=stop_listening, load=self.load,
        )  # fmt: skip

    def reload(self, settings: Settings) -> None:
        """Take the certificate and the credentials of new settings; raise OSError for files that do not fit.

        Connections that are there keep what they have. All other settings need a restart.
        """
        credentials = credentials_of(settings)
        if credentials.needed != self.credentials.needed:
            raise OSError("only a restart can change whether a token is needed")
        if self.tls is not None and settings.tls_cert and settings.tls_key:
            # Tried first: a pair that does not fit would spoil the context.
            checks.tls_context(settings.tls_cert, settings.tls_key)
            self.tls.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
        self.credentials.replace(credentials)
        if self.slots is not None:
            self.jobs.keep_up(self._reload_functions(self.slots))

    async def _reload_functions(self, slots: Slots) -> None:
        """Import the functions of jobs anew; where that fails the old ones stay."""
        try:
            await slots.reload()
        except (SlotGone, SlotUnusable) as error:
            _log.error("the functions of jobs were not reloaded", extra={"why": str(error)})

    def load(self) -> dict[str, int]:
        """Return how many are served now."""
        return {"connections": self.sockets.count, "batches": self.batches.running}

    def status(self) -> str:
        """Say how it is, in one line for people."""
        state = "draining" if self.draining else "serving"
        return f"{state} {', '.join(f'{count} {name}' for name, count in self.load().items())}"
