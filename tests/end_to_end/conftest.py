"""What holds for every test with real processes."""

from collections.abc import AsyncIterator

import pytest

from tests.end_to_end.processes import end_all


@pytest.fixture(autouse=True)
async def nothing_outlives_its_test() -> AsyncIterator[None]:
    """End the processes of a test and close their pipes: what is open when the loop closes fails the next test."""
    yield
    await end_all()
