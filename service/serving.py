"""The process that serves: logs and signals, from the start to the end of the drain."""

import asyncio
import errno
import gc
import logging
import os
import resource
import signal
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

import uvloop

from service import __version__
from service.app import Service, running
from service.config.configuration import SettingsError
from service.config.settings import Settings
from service.jobs.slots import SlotsUnusable
from service.ops.cycle_collector import CycleCollector
from service.ops.logs import Logs, complain, style_of
from service.ops.process import share_heap
from service.ops.sd_notify import Notifier
from service.ops.standard_streams import greet
from service.runtime.threads import NO_THREAD
from service.storage.errors import StorageUnusable
from service.work.opening import StepsUnusable
from service.work.pipelines.opening import PipelinesUnusable

__all__ = ["serve"]

_log = logging.getLogger("sluice")

_NEW: Final = 5_000
"""New objects that the collector looks at together, which takes 2 to 3 ms; with 20,000 it is 7 to 13."""
_NEVER: Final = 2**31 - 1
"""A threshold that is never reached: the largest int of C."""


def serve(settings: Settings, read_again: Callable[[], Settings]) -> int:
    """Serve until a signal ends it, and return the exit code."""
    try:
        return _serve(settings, read_again)
    except RuntimeError as error:
        if str(error) != NO_THREAD:
            raise
        why = "no thread can be started: raise what bounds them (ulimit -u, ulimit -v, pids.max, TasksMax=)"
        complain(settings.log_format, why)
        return 1


def _serve(settings: Settings, read_again: Callable[[], Settings]) -> int:
    share_heap()
    failures: Counter[str] = Counter()
    logs = Logs(
        style=style_of(settings.log_format), secrets=[settings.token, settings.jwt_secret], failures=failures
    )
    logs.start()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_until_stopped(settings, read_again, failures))
    except (StorageUnusable, StepsUnusable, SlotsUnusable, PipelinesUnusable) as error:
        complain(settings.log_format, str(error))
        return 1
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            why = f"{where} is in use: stop what listens there, or choose another --port"
        else:
            why = f"cannot start on {where}: {error}"
        complain(settings.log_format, why)
        return 1
    finally:
        logs.stop()


async def _until_stopped(settings: Settings, read_again: Callable[[], Settings], failures: Counter[str]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        if stop.is_set():
            # The second time somebody means it.
            os._exit(1)
        stop.set()

    # A terminal that is closed, or an operator who does not know yet what it does here: no reason to end.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    async with running(settings, failures) as service:
        # Until here they end the process (ops/start_signals.py): nothing is to be drained.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        _settle_memory()
        loop.add_signal_handler(signal.SIGHUP, _reload, service, read_again)
        scheme = "https" if settings.tls_cert else "http"
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        url = f"{scheme}://{host}:{service.port}"
        greet(f"sluice listening on {url}")
        _log.info("listening", extra={"url": url, "version": __version__, "pid": os.getpid()})
        _log_limits(settings)
        notifier = Notifier()
        notifier.notify("READY=1")
        service.supervisor.on_failed = stop.set
        service.supervisor.start("notify", partial(notifier.run, service.status))
        service.supervisor.start("cycles", CycleCollector(loop.time(), lambda: service.overload.level > 0).run)
        try:
            await stop.wait()
            notifier.notify("STOPPING=1")
            await service.drain()
        finally:
            notifier.close()
    return 1 if service.supervisor.failed else 0


def _log_limits(settings: Settings) -> None:
    """Log which bounds the machine has made lower, and which may be too large for it."""
    if settings.fitted:
        _log.info("bounds fit the machine", extra={name: getattr(settings, name) for name in settings.fitted})
    for warning in settings.warnings:
        _log.warning("a bound is larger than its share of the memory", extra={"why": warning})


def _reload(service: Service, read_again: Callable[[], Settings]) -> None:
    """Read the settings again and take what can be taken while the service runs (SIGHUP)."""
    try:
        service.reload(read_again())
    except (SettingsError, OSError) as error:
        _log.error("reload failed, the old settings hold", extra={"why": str(error)})
    else:
        _log.info("reloaded the certificate and the tokens")


def _settle_memory() -> None:
    """Keep the collector from walking over everything that lives as long as the process.

    With Python's defaults, 10,000 connects spend 40 % of their time in collections that free nothing. A collection
    of new objects begins when ``_NEW`` more were made than freed since the last one. It walks over each once: with
    a larger number it comes less often, and holds up the loop for longer, while all of them together take as long.
    What has outlived one collection is left to the :class:`CycleCollector`: walking over all of it would hold up
    the loop for 60 ms with 100,000 topics.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW, _NEVER, _NEVER)
