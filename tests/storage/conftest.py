"""The data directory that tests of storage kill and open anew."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.storage.test_topic_store import Disk


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Disk]:
    """A directory that does not exist yet."""
    disk = Disk(tmp_path / "data")
    yield disk
    await disk.close()
