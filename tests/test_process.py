"""What is read of procfs and of control groups, and that nothing is made up where they say nothing."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from service.ops import process

GIB = 1 << 30


def tree(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = "MemTotal:        8388608 kB\nMemFree: 1 kB\n"


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, 0),
        ({"proc__meminfo": MEMINFO}, 8 * GIB),
        ({"proc__meminfo": MEMINFO, "proc__self__cgroup": "0::/a/b\n"}, 8 * GIB),
        (
            {"proc__meminfo": MEMINFO, "proc__self__cgroup": "0::/a/b\n", "sys__fs__cgroup__a__b__memory_dot_max": "max\n",
             "sys__fs__cgroup__a__memory_dot_max": f"{GIB}\n"},
            GIB,
        ),
        (
            {"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__memory_dot_max": f"{2 * GIB}\n"},
            2 * GIB,
        ),
        (
            {"proc__meminfo": MEMINFO, "proc__self__cgroup": "5:cpu:/x\n4:memory:/of/the/host\n0::/\n",
             "sys__fs__cgroup__memory__memory_dot_limit_in_bytes": f"{GIB}\n",
             "sys__fs__cgroup__cpu__x__memory_dot_limit_in_bytes": "1\n"},
            GIB,
        ),
        (
            {"proc__meminfo": MEMINFO, "proc__self__cgroup": "4:memory:/\n",
             "sys__fs__cgroup__memory__memory_dot_limit_in_bytes": "9223372036854771712\n"},
            8 * GIB,
        ),
    ],
)  # fmt: skip
def test_the_least_limit_counts(tmp_path: Path, files: dict[str, str], limit: int) -> None:
    assert process.memory_limit(0, tree(tmp_path, **files)) == limit


def test_the_wanted_limit_counts_where_it_is_less(tmp_path: Path) -> None:
    root = tree(tmp_path, proc__meminfo=MEMINFO)
    assert process.memory_limit(GIB, root) == GIB
    assert process.memory_limit(9 * GIB, root) == 8 * GIB


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_of_address_space_is_one_of_memory(kind: str) -> None:
    code = f"""
import resource, mmap
from service.ops import process
resource.setrlimit(resource.{kind}, (400 << 20, 400 << 20))
limit = process.memory_limit()
used = process.memory(limit)
held = mmap.mmap(-1, 100 << 20, flags=mmap.MAP_PRIVATE)
print(limit, used, process.memory(limit), process.resident())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    limit, before, after, resident = map(int, run.stdout.split())
    assert resident < limit < 450 << 20
    # What is reserved and not yet used counts: no more can be allocated.
    assert after - before >= 90 << 20


def test_kernel_memory_of_sockets_and_its_limit(tmp_path: Path) -> None:
    assert process.sockets(tmp_path) == process.socket_limit(tmp_path) == process.resident(tmp_path) == 0
    tree(
        tmp_path,
        proc__net__sockstat="sockets: used 9\nTCP: inuse 1 orphan 0 tw 2 alloc 1 mem 240\nUDP: inuse 0 mem 7\n",
        proc__sys__net__ipv4__tcp_mem="100\t200\t300\n",
    )
    page = os.sysconf("SC_PAGE_SIZE")
    assert (process.sockets(tmp_path), process.socket_limit(tmp_path)) == (240 * page, 300 * page)


def test_this_process_is_measured() -> None:
    assert process.resident() > 10 << 20
    assert 0 < process.memory_limit() < 1 << 60
    before = process.descriptors()
    with socket.socket(), socket.socket():
        assert process.descriptors() == before + 2
    assert process.descriptor_limit() == 0 or process.descriptor_limit() > before
