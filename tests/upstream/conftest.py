"""The data directory of the tests in which batches are kept on disk."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.upstream.batch_disk import BatchDisk


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[BatchDisk]:
    """A directory that does not exist yet."""
    disk = BatchDisk(tmp_path / "data")
    yield disk
    await disk.close()
