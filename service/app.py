"""The composition: everything is made here, in order, and closed in the opposite order."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from secrets import token_hex

from aiohttp import web

from service.config import checks
from service.config.fitting import REFUSED
from service.config.granting import credentials_of
from service.config.limits import (
    address_limits,
    batch_limits,
    data_options,
    hub_limits,
    networks,
    overload_rules,
    selection_bytes,
    socket_limits,
)
from service.config.settings import Settings, tls_context
from service.core.access.grants import Grant, HostPatterns
from service.core.fetching.batch import BatchRequest, BatchState, Keep
from service.core.fetching.dial_policy import DEFAULT_PORTS, Policy
from service.core.overload import Overload
from service.core.owner import Owner
from service.core.ports import Refusals, Watching
from service.core.room import Room
from service.core.topics.hub import Hub
from service.core.topics.memory_store import MemoryStore
from service.edge.access.admission import AdmissionControl
from service.edge.access.credentials import Credentials
from service.edge.access.middleware import AccessMiddleware, add_cors
from service.edge.access.origins import isolate
from service.edge.http.acceptor import Acceptor
from service.edge.http.aiohttp_internals import check as check_internals
from service.edge.http.correlation import add_request_id
from service.edge.http.idle_cuts import IdleCuts
from service.edge.http.large_json import LARGE_JSON, LargeJson
from service.edge.http.listening import listen
from service.edge.http.problems import complete_refusal
from service.edge.http.request_body import ROOM
from service.edge.http.server import HttpRunner
from service.edge.routes.batches import BatchRoutes
from service.edge.routes.documents import DocumentRoutes
from service.edge.routes.health import HealthRoutes
from service.edge.routes.page import PageRoutes
from service.edge.routes.streams import STREAMS, Streams
from service.edge.routes.topics import TopicRoutes
from service.edge.routes.watches import WatchRoutes
from service.edge.websocket.echo import LARGEST, Echo, EchoBodies
from service.edge.websocket.endpoint import WebSockets
from service.ops.drain import drain
from service.ops.housekeeping import Housekeeping
from service.ops.loop_lag import LoopLag
from service.ops.metrics import (
    FanoutCollector,
    FetchingCollector,
    LoadCollector,
    MetricsRoutes,
    ProcessCollector,
    ShareCollector,
    StorageCollector,
)
from service.ops.overload_controller import OverloadController
from service.ops.pools import pools_of
from service.ops.process import Meter, memory_limit
from service.ops.stats_topic import StatsTopic
from service.runtime.clock import clock_of
from service.runtime.supervisor import Supervisor
from service.sources.batches import Batches
from service.sources.watches import Watches, WatchLimits
from service.storage.opening import Keeping, open_storage
from service.upstream.caching.cache import Cache
from service.upstream.content.selection_process import Selector
from service.upstream.fetcher import Fetcher
from service.upstream.guard import own_addresses
from service.upstream.runner import Runner

__all__ = ["Service", "running"]


class Service:
    """What the parts share: it answers the sessions' calls, and knows how to stop."""

    def __init__(
        self, settings: Settings, hub: Hub, batches: Batches, watches: Watches, credentials: Credentials,
        room: Room, supervisor: Supervisor, storage: Keeping,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.room = room
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
            room=room,
        )
        self.refusals: Refusals = Counter()
        self.access = AccessMiddleware(
            credentials,
            self.admission,
            hosts=settings.allow_host,
            origins=settings.allow_origin,
            connections=settings.connections,
            refusals=self.refusals,
            sockets=("/ws", "/echo") if settings.echo_route else ("/ws",),
        )
        self.draining = False
        self.supervisor = supervisor
        self.storage = storage
        self.port = settings.port
        self.acceptor: Acceptor | None = None
        self.tls = tls_context(settings)
        self.streams = Streams(settings.heartbeat)
        limits, authorise = socket_limits(settings), self.access.authorise
        self.sockets = WebSockets(hub, self, limits, self.admission, authorise)
        self.endpoints = {"/ws": self.sockets}
        if settings.echo_route:
            limits = replace(limits, message_size=LARGEST, patience=0.0)
            self.endpoints["/echo"] = WebSockets(hub, self, limits, self.admission, authorise, Echo())

    def fetch(self, request: BatchRequest, owner: Owner, grant: Grant) -> BatchState:
        """Begin a batch for a WebSocket client."""
        return self.batches.start(request, owner=owner, keep=Keep.LINGER, grant=grant)

    def watch(self, url: str, every: float, select: str | None, hosts: HostPatterns, owner: Owner) -> Watching:
        """Have a URL polled for one more watcher."""
        return self.watches.watch(url, every, select, hosts, owner)

    def cancel(self, batch_id: str) -> int:
        """End a batch."""
        return self.batches.cancel(batch_id)

    def authenticate(self, token: str) -> Grant:
        """Check new credentials."""
        return self.credentials.check(token)

    async def drain(self) -> None:
        """Refuse what is new, let what runs finish as far as the time goes, and end the rest."""
        self.draining = self.batches.draining = True

        def stop_listening() -> None:
            if self.acceptor is not None:
                self.acceptor.close()

        await drain(
            self.settings.drain, self.sockets, self.streams, self.batches,
            stop_listening=stop_listening, load=self.load,
        )  # fmt: skip

    def reload(self, settings: Settings) -> None:
        """Take the certificate and the credentials of new settings; raise OSError for files that do not fit.

        Connections that are there keep what they have. All other settings need a restart.
        """
        credentials = credentials_of(settings)
        if credentials.needed != self.credentials.needed:
            raise OSError("whether a token is needed can be changed by a restart alone")
        if self.tls is not None and settings.tls_cert and settings.tls_key:
            # Tried first: a pair that does not fit would spoil the context.
            checks.tls_context(settings.tls_cert, settings.tls_key)
            self.tls.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
        self.credentials.replace(credentials)

    def load(self) -> dict[str, int]:
        """Return how many are served now."""
        return {"connections": self.sockets.count, "batches": self.batches.running}

    def status(self) -> str:
        """Say how it is, in one line for people."""
        state = "draining" if self.draining else "serving"
        return f"{state} {', '.join(f'{count} {name}' for name, count in self.load().items())}"


@asynccontextmanager
async def running(settings: Settings, failures: Counter[str] | None = None) -> AsyncIterator[Service]:
    """Run the service until the block is left; ``failures`` counts what fails in the background, also outside.

    Raises OSError when it cannot listen.
    """
    loop, supervisor = asyncio.get_running_loop(), Supervisor(failures)
    loop.set_exception_handler(supervisor.on_loop_error)
    listeners = listen(settings.host, settings.port)
    new_epoch = partial(token_hex, 8)
    clock = clock_of(loop)
    storage = await open_storage(data_options(settings), clock=clock, new_epoch=new_epoch)
    hub = Hub(hub_limits(settings), storage.store(MemoryStore(new_epoch)), call_soon=loop.call_soon, clock=clock)
    await storage.open_topics(hub)
    policy = Policy(nets=settings.nets, ports=DEFAULT_PORTS | frozenset(settings.allow_port), own=own_addresses())
    limits = batch_limits(settings)
    most = memory_limit(settings.memory_limit)
    room = Room(most, Meter(most), clock)
    cache = Cache(settings.cache_size)
    fetcher = Fetcher(policy, cache, robots=settings.robots, reading_bytes=limits.reading_bytes, room=room)
    fetches = Runner(fetcher, limits, chance=random.random)  # jitter, not secrets
    batches = Batches(hub, fetcher, fetches, limits, new_id=lambda: token_hex(16), room=room)
    selector = Selector(selection_bytes(most))
    watches = Watches(
        hub, fetches, WatchLimits(urls=settings.watches), policy=policy, selector=selector, chance=random.random
    )
    service = Service(settings, hub, batches, watches, credentials_of(settings), room, supervisor, storage)
    service.port = listeners[0].getsockname()[1]
    crowd, overload = service.endpoints.values(), service.overload
    controller = OverloadController(
        overload, fetches, (*crowd, service.streams), lambda: runner.close_unused(), most
    )
    lag = LoopLag(clock)
    statistics = StatsTopic(hub, service.sockets, batches, watches, controller, lag)
    housekeeping = Housekeeping(hub, service.admission, controller, lag)
    broken: Counter[str] = Counter()
    metrics = MetricsRoutes(
        ProcessCollector(lag, service.supervisor, lambda: service.draining),
        LoadCollector(controller),
        FanoutCollector(hub, service.sockets, service.streams, service.access, broken),
        FetchingCollector(fetches, batches, watches, fetcher.cache),
        StorageCollector(storage.statistics),
        ShareCollector(
            pools_of(hub, service.access, service.sockets, batches, watches, fetches, selector, fetcher)
        ),
    )
    application = _application(service)
    metrics.add_to(application)
    runner = HttpRunner(
        application,
        broken,
        IdleCuts(settings.heartbeat, clock),
        auto_decompress=False,  # edge/http/request_body.py does it: aiohttp takes a body that is cut off for whole
        keepalive_timeout=settings.handshake_time,
    )
    supervisor.start("loop lag", lag.run)
    supervisor.start("overload", housekeeping.watch_overload)
    supervisor.start("sweep", housekeeping.sweep)
    supervisor.start("memory", housekeeping.return_memory)
    supervisor.start("statistics", statistics.run)
    try:
        check_internals()
        # No site of aiohttp's: those accept without a bound, and give a TLS handshake 60 s.
        service.acceptor = Acceptor(
            await runner.start(),
            listeners,
            most=settings.websockets + settings.connections + REFUSED,
            tls=service.tls,
            tls_time=settings.handshake_time,
            clock=clock,
        )
        service.acceptor.start()
        yield service
    finally:
        async with AsyncExitStack() as stack:  # the last is closed first; one that fails leaves no other open
            stack.callback(loop.set_exception_handler, None)
            stack.push_async_callback(storage.close)
            stack.push_async_callback(fetcher.close)
            stack.push_async_callback(runner.close)
            if service.acceptor is not None:
                stack.callback(service.acceptor.close)
            stack.push_async_callback(fetches.close)
            stack.push_async_callback(selector.close)
            stack.push_async_callback(watches.close)
            stack.callback(batches.close)
            for endpoint in reversed(service.endpoints.values()):
                stack.push_async_callback(endpoint.close)
            stack.callback(service.streams.expiries.close)
            stack.push_async_callback(supervisor.close)


def _application(service: Service) -> web.Application:
    settings = service.settings
    app = web.Application(middlewares=[service.access.middleware()], client_max_size=settings.batch_size)
    app[STREAMS] = service.streams
    app[ROOM] = service.room
    app[LARGE_JSON] = LargeJson()
    app.on_response_prepare.extend((complete_refusal, add_cors, isolate, add_request_id))
    app.router.add_get("/ws", service.sockets.handle, allow_head=False)
    if settings.echo_route:
        app.router.add_get("/echo", service.endpoints["/echo"].handle, allow_head=False)
        app.router.add_post("/", EchoBodies(settings.message_size, settings.body_time).handle)
    batches, storage = service.batches, service.storage
    HealthRoutes(lambda: service.draining, service.overload, lambda: batches.shortage, storage).add_to(app)
    hub, body_time = service.hub, settings.body_time
    BatchRoutes(hub, batches, body_size=settings.batch_size, body_time=body_time).add_to(app)
    TopicRoutes(hub, body_size=settings.message_size, body_time=body_time).add_to(app)
    WatchRoutes(service.hub, service).add_to(app)
    DocumentRoutes(batch_limits(settings), token=service.credentials.needed).add_to(app)
    PageRoutes().add_to(app)
    return app
