"""Memory that was freed goes back to the system, and the service sees to that when it has grown."""

import asyncio
import platform
import subprocess
import sys

import pytest

from service.ops import housekeeping
from service.runtime.allocator import in_use
from tests.edge.running import client_of

GLIBC = platform.libc_ver()[0] == "glibc"

PROGRAM = """
import random
from service.runtime.allocator import trim
from service.ops.process import resident

random.seed(1)
live = []
for _ in range(20_000):
    live.append(bytes(random.randrange(600, 12_000)))
random.shuffle(live)
del live[500:]
before = resident()
trim()
print(before, resident())
"""


@pytest.mark.skipif(not GLIBC, reason="another C library than glibc has no malloc_trim")
def test_what_was_freed_amid_the_heap_goes_back() -> None:
    out = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    before, after = map(int, out.split())
    assert after < before / 2


IN_A_THREAD = """
from concurrent.futures import ThreadPoolExecutor
from service.runtime.allocator import trim
from service.ops.process import resident, share_heap

share_heap()
bytes(30 << 20)  # From then on glibc keeps at least this much at the end of a heap.
with ThreadPoolExecutor(1) as threads:
    before = threads.submit(resident).result()
    threads.submit(lambda: len([bytes(20_000) for _ in range(1000)])).result()
    trim()
    print(resident() - before)
"""


@pytest.mark.skipif(not GLIBC, reason="another C library than glibc has no malloc_trim")
def test_what_a_thread_has_freed_goes_back() -> None:
    out = subprocess.run(
        [sys.executable, "-c", IN_A_THREAD], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert int(out) < 4 << 20


async def test_the_service_looks_whenever_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [100 << 20, 110 << 20, 120 << 20, 90 << 20, 100 << 20, 130 << 20, 95 << 20]
    trims: list[int] = []
    monkeypatch.setattr(housekeeping, "resident", lambda: sizes.pop(0) if len(sizes) > 1 else sizes[0])
    monkeypatch.setattr(housekeeping, "trim", lambda: trims.append(sizes[0] >> 20))
    monkeypatch.setattr(housekeeping, "in_use", lambda: 0)
    async with client_of():
        while len(sizes) > 1:
            await asyncio.sleep(1)
        await asyncio.sleep(60)
    assert trims == [90, 95], "grown twice by more than 16 MiB"


Memory = tuple[dict[str, int], list[int]]
"""The resident and the used bytes of the service, and the MiB in use at each trim."""


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    service = {"resident": 100 << 20, "used": 60 << 20}
    trims: list[int] = []

    def trim() -> None:
        trims.append(service["used"] >> 20)
        service["resident"] = service["used"] + (40 << 20)

    monkeypatch.setattr(housekeeping, "resident", lambda: service["resident"])
    monkeypatch.setattr(housekeeping, "in_use", lambda: service["used"])
    monkeypatch.setattr(housekeeping, "trim", trim)
    return service, trims


async def test_what_is_freed_after_a_trim_goes_back_too(memory: Memory) -> None:
    """A trim at the peak finds nothing to give back, and the process does not grow any more."""
    service, trims = memory
    async with client_of():
        await asyncio.sleep(20)
        service |= {"resident": 500 << 20, "used": 460 << 20}
        await asyncio.sleep(40)
        assert trims == [460]
        service["used"] = 60 << 20
        await asyncio.sleep(40)
    assert trims == [460, 60]


async def test_what_comes_and_goes_between_two_looks_goes_back_too(memory: Memory) -> None:
    """A burst that one look saw begin has grown further, and was freed, when the next one comes."""
    service, trims = memory
    async with client_of():
        await asyncio.sleep(20)
        service |= {"resident": 125 << 20, "used": 85 << 20}
        await asyncio.sleep(15)
        assert trims == [85]
        service |= {"resident": 140 << 20, "used": 75 << 20}
        await asyncio.sleep(15)
    assert trims == [85, 75]


async def test_memory_that_stands_still_is_seldom_looked_at(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, _ = memory
    looks: list[int] = []

    def in_use() -> int:
        looks.append(service["resident"])
        return service["used"]

    monkeypatch.setattr(housekeeping, "in_use", in_use)
    async with client_of():
        await asyncio.sleep(20)
        service |= {"resident": 500 << 20, "used": 460 << 20}
        await asyncio.sleep(40)
        assert len(looks) == 2
        await asyncio.sleep(600)
        assert len(looks) <= 8, "40 without a growing pause"
        service["resident"] += 2 << 20
        await asyncio.sleep(16)
        assert looks[-1] == 502 << 20


@pytest.mark.skipif(not GLIBC, reason="another C library than glibc has no mallinfo2")
def test_it_is_known_what_is_in_use() -> None:
    before = in_use()
    kept = bytes(64 << 20)
    assert in_use() > before + (60 << 20)
    del kept
    assert in_use() < before + (4 << 20)
