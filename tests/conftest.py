"""Unit tests run on a virtual clock; end-to-end tests on uvloop, as the service does; tests of threads in real time."""

import asyncio
import atexit
import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from tests.dealing import dealt
from tests.virtual import VirtualClockLoop

# How long an example takes says more about what else the machine does than about us.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

HERE = Path(__file__).parent
REAL_TIME = {
    HERE / "end_to_end": uvloop.new_event_loop,
    HERE / "storage": asyncio.new_event_loop,
    HERE / "slots": uvloop.new_event_loop,
    HERE / "work": uvloop.new_event_loop,
}
"""Where time is real: other processes and threads take part."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep thousands of tests out of the way of the garbage collector: some tests have it run, or ask for all objects."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        # The interpreter finalizes frozen objects after the extension modules that they need.
        atexit.register(gc.unfreeze)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """Keep what a module has left out of the way, too: a collection would take four times as long in the end."""
    try:
        return (yield)
    finally:
        if nextitem is None or nextitem.path != item.path:
            _forget_applications()
            gc.collect()
            gc.freeze()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Have Python free only what nothing refers to: the collector of cycles runs where a test calls it, or never."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _forget_applications() -> None:
    """Free the services of a module's tests: aiohttp remembers the middlewares of 1,024 handlers, and so what they serve.

    Their tasks alone, thousands, would be looked through at the end of each test.
    """
    if (web_app := sys.modules.get("aiohttp.web_app")) is not None:
        web_app._cached_build_middleware.cache_clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest tests first, so that no worker is left alone with one at the end."""
    items[:] = dealt(items, _seconds, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def _seconds(item: pytest.Item) -> float:
    """Return about how long a test takes; 0 where that is not much."""
    marker = item.get_closest_marker("seconds")
    return float(marker.args[0]) if marker is not None else 0.0


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Choose the loop by where the test stands."""
    for folder, factory in REAL_TIME.items():
        if folder in item.path.parents:
            return {"real": factory}
    return {"virtual": VirtualClockLoop}
