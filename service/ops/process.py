"""What the kernel says of this process, and what it allows: bytes and counts; 0 where it does not say."""

import ctypes
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from service.runtime.allocator import trim

__all__ = [
    "MemoryMeter",
    "descriptor_limit",
    "descriptors",
    "memory",
    "memory_limit",
    "resident",
    "socket_limit",
    "sockets",
]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_LARGEST: Final = 64 << 10
_ROOT = Path("/")
_ARENA_MAX: Final = -8
"""The number of this option in glibc's malloc.h."""
_MUCH: Final = 0.75
"""The share of the limit from which on memory that was freed is given back to the kernel."""
_PAUSE: Final = 1.0
"""Seconds between two times: each takes some milliseconds."""


def resident(root: Path = _ROOT) -> int:
    """Return the resident memory in bytes."""
    return _field(root / "proc/self/statm", 1) * _PAGE


def sockets(root: Path = _ROOT) -> int:
    """Return the bytes of kernel memory that all TCP sockets of this network namespace hold."""
    fields = _read(root / "proc/net/sockstat").partition("TCP:")[2].partition("\n")[0].split()
    return int(fields[fields.index("mem") + 1]) * _PAGE if "mem" in fields else 0


def descriptors() -> int:
    """Return how many descriptors are open."""
    folder = Path("/proc/self/fd")
    try:
        # Linux 6.2 counts them itself; before, ten thousand take 3 ms to list.
        return folder.stat().st_size or len(os.listdir(folder))
    except OSError:
        return 0


def memory_limit(wanted: int = 0, root: Path = _ROOT) -> int:
    """Return the bytes that this process may have.

    The least of the machine's memory, its control groups' (versions 1 and 2), its own limits (RLIMIT_AS,
    RLIMIT_DATA) and what is wanted, where that is not 0.
    """
    total = _read(root / "proc/meminfo").partition("MemTotal:")[2].split()
    limits = [int(total[0]) * 1024] if total else []
    limits += [most - used + resident(root) for most, used in _own_limits(root)]
    return min([*limits, *_group_limits(root), *([wanted] if wanted else [])], default=0)


def memory(limit: int, root: Path = _ROOT) -> int:
    """Return how much of the limit is used: resident memory and that of sockets, or what is reserved.

    A limit of reserved memory (RLIMIT_AS) is used up by address space; then malloc fails, and programs in C end.
    """
    used = resident(root) + sockets(root)
    left = min((most - reserved for most, reserved in _own_limits(root)), default=limit)
    return max(used, limit - left)


def share_heap() -> None:
    """Have all threads share one heap: malloc_trim(3) shrinks no other.

    Otherwise the memory that a thread has freed, such as that of a parsed document, would stay until the process
    ends. And glibc reserves 64 MiB of address space for each heap.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_ARENA_MAX, 1)


class MemoryMeter:
    """Measures the memory that is used of a limit, and has malloc return what it only keeps where that is much."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._trimmed = 0.0

    def __call__(self) -> int:
        """Return the bytes that are used."""
        used = memory(self._limit)
        now = time.monotonic()
        if used > _MUCH * self._limit and now - self._trimmed > _PAUSE:
            trim()
            self._trimmed = now
            used = memory(self._limit)
        return used


def socket_limit(root: Path = _ROOT) -> int:
    """Return the bytes from which on the kernel refuses memory to TCP sockets (``net.ipv4.tcp_mem``)."""
    return _field(root / "proc/sys/net/ipv4/tcp_mem", 2) * _PAGE


def descriptor_limit() -> int:
    """Return how many descriptors may be open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 0 if soft == resource.RLIM_INFINITY else soft


def _own_limits(root: Path) -> Iterator[tuple[int, int]]:
    """Yield the process's own limits of memory, each with what is used of it."""
    for limit, field in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
        soft = resource.getrlimit(limit)[0]
        if soft != resource.RLIM_INFINITY:
            yield soft, _field(root / "proc/self/statm", field) * _PAGE


def _group_limits(root: Path) -> Iterator[int]:
    """Yield the limits of the control groups that this process is in, up to the outermost that it sees."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, names = root / "sys/fs/cgroup", ("memory.max", "memory.high")
        elif "memory" in controllers.split(","):
            base, names = root / "sys/fs/cgroup/memory", ("memory.limit_in_bytes", "")
        else:
            continue
        # In a container the path may be the host's, and only the mount's own root be there.
        group = base / path.lstrip("/")
        for folder in (group, *group.parents):
            for text in (_read(folder / name).strip() for name in names if name):
                if text.isdigit():
                    yield int(text)
            if folder == base:
                break


def _field(path: Path, index: int) -> int:
    fields = _read(path).split()
    return int(fields[index]) if len(fields) > index else 0


def _read(path: Path) -> str:
    """Return the text of a small file, at once: Python's files take three times as long to open."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _LARGEST).decode()
    except OSError:
        return ""
    finally:
        os.close(descriptor)
