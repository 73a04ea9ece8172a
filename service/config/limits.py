"""What the settings mean to each part: its bounds."""

import os
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Final

from service.config.fitting import CREDIT, FRAMES, JOBS, PROCESS, QUEUED, READING, SELECTING, STEPS, share
from service.config.settings import Settings
from service.core.access.address_limits import AddressLimits
from service.core.addresses import Network
from service.core.fetching.batch import BatchLimits
from service.core.jobs.webhooks import read_secret
from service.core.overload import Rule, rules
from service.core.sessions.session import SessionLimits
from service.core.topics.hub import HubLimits
from service.core.topics.topic import RingLimits
from service.edge.websocket.endpoint import WebSocketLimits
from service.jobs.figures import JobLimits
from service.ops.process import descriptor_limit, memory_limit, socket_limit
from service.runtime.bounded_files import CREDENTIALS, read_bounded
from service.storage.options import DataOptions
from service.work.options import StepOptions
from service.work.pipelines.options import PipelineOptions

__all__ = ["address_limits", "batch_limits", "client_limits", "data_options", "hub_limits", "job_limits",
           "networks", "overload_rules", "pipeline_limits", "pipeline_options", "selection_bytes", "socket_limits",
           "step_options", "webhook_secret"]  # fmt: skip


_FEWEST_RUNS: Final = 4
_MOST_RUNS: Final = 100
"""Clients of pipelines at once."""


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return networks from how they are written."""
    return tuple(ip_network(text) for text in texts)


def overload_rules(settings: Settings) -> tuple[Rule, ...]:
    """Return when the service counts as overloaded."""
    return rules(
        lag=settings.overload_lag,
        memory=memory_limit(settings.memory_limit),
        sockets=socket_limit(),
        descriptors=descriptor_limit(),
    )


def address_limits(settings: Settings) -> AddressLimits:
    """Return the bounds of one address."""
    return AddressLimits(
        connections=settings.address_connections,
        handshakes=settings.address_handshakes,
        handshakes_burst=max(1, round(20 * settings.address_handshakes)),
        flood=5 * settings.address_handshakes,
        requests=settings.address_requests,
        requests_burst=max(1, round(5 * settings.address_requests)),
    )


def hub_limits(settings: Settings) -> HubLimits:
    """Return the bounds of all topics."""
    return HubLimits(
        ring=RingLimits(settings.ring_messages, settings.ring_size, settings.ring_age),
        topics=settings.topics,
        ring_bytes=settings.rings_size,
    )


def data_options(settings: Settings) -> DataOptions:
    """Return what is kept on disk."""
    path = None if settings.data is None else Path(settings.data)
    return DataOptions(path, settings.sync, settings.volatile, hub_limits(settings).key_age)


def job_limits(settings: Settings) -> JobLimits:
    """Return the bounds of jobs: without a data directory all of them are in memory."""
    size = settings.jobs_size
    return JobLimits(
        jobs_size=size if settings.data is not None else share(JOBS, memory_limit(settings.memory_limit), size)
    )


def webhook_secret(settings: Settings) -> bytes | None:
    """Return the secret that signs the calls of jobs; raise ValueError or OSError where the file has none."""
    return (
        None
        if settings.webhook_secret_file is None
        else read_secret(read_bounded(settings.webhook_secret_file, CREDENTIALS).decode())
    )


def step_options(settings: Settings) -> StepOptions:
    """Return what steps may take, and where blobs are kept."""
    return StepOptions(
        blobs=None if settings.blobs is None else Path(settings.blobs),
        blobs_size=settings.blobs_size,
        modules=settings.steps,
        time=settings.step_time,
        memory=settings.step_memory,
        processes=settings.step_processes or len(os.sched_getaffinity(0)),
        bodies=share(STEPS, memory_limit(settings.memory_limit), 256 << 20),
    )


def pipeline_options(settings: Settings) -> PipelineOptions:
    """Return what pipelines may take; all clients at once may be sending an item of the largest size."""
    machine = memory_limit(settings.memory_limit)
    memory = share(FRAMES, machine, 256 << 20)
    return PipelineOptions(
        file=settings.pipelines,
        time=settings.step_time,
        process_memory=settings.step_memory,
        processes=max(1, (machine or 1 << 40) // PROCESS),
        cores=len(os.sched_getaffinity(0)),
        memory=memory,
        runs=max(_FEWEST_RUNS, min(_MOST_RUNS, memory // settings.frame_size)),
    )


def client_limits(settings: Settings) -> SessionLimits:
    """Return the bounds of one client that has no others of its own."""
    return SessionLimits(
        topics=settings.client_topics,
        rate=settings.client_rate,
        burst=max(1, round(5 * settings.client_rate)),
        bytes=settings.client_bytes,
        bytes_burst=round(4 * settings.client_bytes),
    )


def socket_limits(settings: Settings) -> WebSocketLimits:
    """Return the bounds of the WebSocket endpoint."""
    return WebSocketLimits(
        connections=settings.websockets,
        message_size=settings.message_size,
        heartbeat=settings.heartbeat,
        patience=settings.auth_time,
        backlogs=settings.backlogs_size,
        session=client_limits(settings),
    )


def pipeline_limits(settings: Settings) -> WebSocketLimits:
    """Return the bounds of pipeline WebSockets, which must have their credentials before the upgrade."""
    return replace(
        socket_limits(settings),
        connections=pipeline_options(settings).runs,
        message_size=settings.frame_size,
        patience=0.0,
    )


def selection_bytes(memory: int) -> int:
    """Return the bound of the bodies that wait until something is selected of them."""
    return share(SELECTING, memory, 64 << 20)


def batch_limits(settings: Settings) -> BatchLimits:
    """Return the bounds of batches, and of fetches."""
    memory = memory_limit(settings.memory_limit)
    return BatchLimits(
        urls=settings.batch_urls,
        methods=frozenset({"GET", "HEAD"}) | frozenset(settings.allow_method),
        retention=settings.batch_age,
        retained_bytes=settings.batches_size,
        stored_bytes=settings.stored_batches_size,
        linger=settings.batch_linger,
        reading_bytes=share(READING, memory, 256 << 20),
        credit=share(CREDIT, memory, 16 << 20),
        queued_bytes=share(QUEUED, memory, 256 << 20),
        active=settings.upstream,
        active_per_client=settings.upstream_client,
        active_per_host=settings.upstream_host,
        hosts_shared=True,
    )
