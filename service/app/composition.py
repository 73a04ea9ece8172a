"""The composition: everything is made here, in order, and closed in the opposite order."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from secrets import token_hex

from service.app.application import application_of
from service.app.service import Service
from service.app.starting import answering
from service.config.fitting import REFUSED
from service.config.granting import credentials_of
from service.config.limits import (
    batch_limits,
    data_options,
    hub_limits,
    job_limits,
    pipeline_options,
    selection_bytes,
    step_options,
    webhook_secret,
)
from service.config.settings import Settings
from service.core.fetching.dial_policy import DEFAULT_PORTS, Policy
from service.core.jobs.request import Kind
from service.core.memory_budget import MemoryBudget
from service.core.topics.hub import Hub
from service.core.topics.memory_store import MemoryStore
from service.edge.http.acceptor import Acceptor
from service.edge.http.aiohttp_internals import check as check_internals
from service.edge.http.idle_cuts import IdleCuts
from service.edge.http.listening import listen
from service.edge.http.runner import HttpRunner
from service.jobs.executor import Executor
from service.jobs.jobs import Jobs
from service.jobs.slots import open_broker, open_slots
from service.ops.housekeeping import Housekeeping
from service.ops.loop_lag import LoopLag
from service.ops.metrics import (
    FanoutCollector,
    FetchingCollector,
    JobCollector,
    LoadCollector,
    MetricsRoutes,
    PipelineCollector,
    ProcessCollector,
    ShareCollector,
    StorageCollector,
    WorkCollector,
)
from service.ops.overload_controller import OverloadController
from service.ops.pools import pools_of
from service.ops.process import MemoryMeter, memory_limit
from service.ops.stats_topic import StatsTopic
from service.runtime.clock import clock_of
from service.runtime.supervisor import Supervisor
from service.sources.batches import Batches
from service.sources.call_jobs import CallJobs
from service.sources.fetch_jobs import FetchJobs
from service.sources.publish_jobs import PublishJobs
from service.sources.watches import Watches, WatchLimits
from service.storage.opening import open_storage
from service.upstream.caching.cache import Cache
from service.upstream.content.selection_process import Selector
from service.upstream.fetcher import Fetcher
from service.upstream.guard import own_addresses
from service.upstream.runner import Runner
from service.work.opening import open_steps
from service.work.pipelines.opening import open_pipelines
from service.work.pipelines.pipelines import Pipelines

__all__ = ["running"]


@asynccontextmanager
async def running(
    settings: Settings, failures: Counter[str] | None = None, *, wall: Callable[[], float] = time.time
) -> AsyncIterator[Service]:
    """Run the service until the block is left; ``failures`` counts what fails in the background, also outside.

    ``wall`` is the time since 1970 by which jobs are due.

    Raises OSError when it cannot listen.
    """
    async with AsyncExitStack() as stack:
        yield await _started(settings, Supervisor(failures), wall, stack)


async def _started(
    settings: Settings, supervisor: Supervisor, wall: Callable[[], float], stack: AsyncExitStack
) -> Service:
    """Start all parts; the end of each is on ``stack`` before a later one can fail."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(supervisor.on_loop_error)
    stack.callback(loop.set_exception_handler, None)
    listeners = listen(settings.host, settings.port)
    for listener in listeners:
        stack.callback(listener.close)
    new_epoch = partial(token_hex, 8)
    clock = clock_of(loop)
    async with answering(settings, listeners, clock):
        storage = await open_storage(data_options(settings), clock=clock, new_epoch=new_epoch)
        stack.push_async_callback(storage.close)
    steps = await open_steps(step_options(settings))
    stack.push_async_callback(steps.close)
    slots = await open_slots(settings.jobs, settings.job_slots, settings.job_memory)
    if slots is not None:
        stack.push_async_callback(slots.close)
    broker = open_broker(settings.celery)
    pipelines = open_pipelines(pipeline_options(settings))
    stack.push_async_callback(pipelines.close)
    hub = Hub(hub_limits(settings), storage.store(MemoryStore(new_epoch)), call_soon=loop.call_soon, clock=clock)
    await storage.open_topics(hub)
    steps.gives_way.busy = hub.is_visiting_many
    policy = Policy(nets=settings.nets, ports=DEFAULT_PORTS | frozenset(settings.allow_port), own=own_addresses())
    limits = batch_limits(settings)
    most = memory_limit(settings.memory_limit)
    memory = MemoryBudget(most, MemoryMeter(most), clock)
    cache = Cache(settings.cache_size)
    fetcher = Fetcher(policy, cache, robots=settings.robots, reading_bytes=limits.reading_bytes, memory=memory)
    stack.push_async_callback(fetcher.close)
    # Clients' connections: they end after everything that their requests wait for.
    connections = await stack.enter_async_context(AsyncExitStack())
    fetches = Runner(fetcher, limits, chance=random.random)  # jitter, not secrets
    stack.push_async_callback(fetches.close)
    batches = Batches(
        hub, fetcher, fetches, limits,
        new_id=lambda: token_hex(16), memory=memory, store=storage.batches, steps=steps,
    )  # fmt: skip
    selector = Selector(selection_bytes(most))
    watches = Watches(
        hub, fetches, WatchLimits(urls=settings.watches),
        policy=policy, selector=selector, chance=random.random, store=storage.watches, steps=steps,
    )  # fmt: skip
    executors: dict[Kind, Executor] = {
        "publish": PublishJobs(hub, settings.message_size),
        "call": CallJobs(fetches, policy, webhook_secret(settings), wall),
        "fetch": FetchJobs(batches),
    }
    if slots is not None:
        executors["run"] = slots
    jobs = Jobs(hub, storage.jobs, executors, job_limits(settings), chance=random.random, wall=wall, broker=broker)
    stack.push_async_callback(jobs.close)
    if slots is not None:
        stack.callback(slots.hasten)
    stack.push_async_callback(selector.close)
    stack.push_async_callback(watches.close)
    stack.push_async_callback(batches.stepping.close)
    stack.callback(batches.close)
    await storage.open_batches(batches.restore)
    await jobs.open()
    service = Service(
        settings,
        hub,
        batches,
        watches,
        credentials_of(settings),
        memory,
        supervisor,
        storage,
        steps,
        jobs,
        pipelines,
    )
    for endpoint in reversed(service.endpoints.values()):
        stack.push_async_callback(endpoint.close)
    stack.callback(service.streams.expiries.close)
    service.slots = slots
    service.port = listeners[0].getsockname()[1]
    crowd, overload = service.endpoints.values(), service.overload
    controller = OverloadController(
        overload, fetches, (*crowd, service.streams), lambda: runner.close_unused(), most
    )
    lag = LoopLag(clock)
    statistics = StatsTopic(hub, service.sockets, batches, watches, pipelines, controller, lag)
    housekeeping = Housekeeping(hub, service.admission, controller, lag)
    broken: Counter[str] = Counter()
    metrics = _metrics(service, controller, lag, fetcher, fetches, selector, pipelines, broken)
    application = application_of(service)
    metrics.add_to(application)
    runner = HttpRunner(
        application,
        broken,
        IdleCuts(settings.heartbeat, clock),
        auto_decompress=False,  # edge/http/request_body.py does it: aiohttp takes a body that is cut off for whole
        keepalive_timeout=settings.handshake_time,
        caller=service.admission.caller_in,
    )
    connections.push_async_callback(runner.close)
    stack.push_async_callback(supervisor.close)
    supervisor.start("loop lag", lag.run)
    supervisor.start("overload", housekeeping.watch_overload)
    supervisor.start("sweep", housekeeping.sweep)
    supervisor.start("memory", housekeeping.return_memory)
    supervisor.start("statistics", statistics.run)
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
    connections.callback(service.acceptor.close)
    service.acceptor.start()
    return service


def _metrics(
    service: Service, controller: OverloadController, lag: LoopLag, fetcher: Fetcher, fetches: Runner,
    selector: Selector, pipelines: Pipelines, broken: Counter[str],
) -> MetricsRoutes:  # fmt: skip
    """Return the route of metrics, with the figures of every part."""
    hub, batches, watches, steps, jobs = service.hub, service.batches, service.watches, service.steps, service.jobs
    pools = pools_of(
        hub, service.access, service.sockets, batches, watches, fetches, selector, fetcher, steps, jobs,
        service.pipelines.pool, service.pipelines.frames,
    )  # fmt: skip
    return MetricsRoutes(
        ProcessCollector(lag, service.supervisor, lambda: service.draining),
        LoadCollector(controller),
        FanoutCollector(hub, service.sockets, service.pipeline_sockets, service.streams, service.access, broken),
        FetchingCollector(fetches, batches, watches, fetcher.cache),
        StorageCollector(service.storage.statistics),
        WorkCollector(steps),
        JobCollector(jobs),
        PipelineCollector(pipelines),
        ShareCollector(pools),
    )
