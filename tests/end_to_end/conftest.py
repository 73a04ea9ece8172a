"""What holds for every test with real processes."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.end_to_end.processes import Endpoint, end_all, shared_service


@pytest.fixture(autouse=True)
async def nothing_outlives_its_test() -> AsyncIterator[None]:
    """End the processes of a test and close their pipes: what is open when the loop closes fails the next test."""
    yield
    await end_all()


@pytest.fixture(scope="session")
def shared() -> Iterator[Endpoint]:
    """A service for tests that others do not notice: a start takes half a second of a core."""
    with shared_service() as endpoint:
        yield endpoint
