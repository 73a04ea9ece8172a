"""Unit tests run on a virtual clock; end-to-end tests on uvloop, as the service does."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from tests.virtual import VirtualClockLoop

# How long an example takes says more about what else the machine does than about us.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

END_TO_END = Path(__file__).parent / "end_to_end"


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Choose the loop by where the test stands."""
    if END_TO_END in item.path.parents:
        return {"uvloop": uvloop.new_event_loop}
    return {"virtual": VirtualClockLoop}
