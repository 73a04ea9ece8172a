"""What the kernel says of this process, and what it allows: bytes and counts; 0 where it does not say."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

__all__ = ["descriptor_limit", "descriptors", "memory_limit", "resident", "socket_limit", "sockets"]

_PAGE = os.sysconf("SC_PAGE_SIZE")
_ROOT = Path("/")


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


def memory_limit(root: Path = _ROOT) -> int:
    """Return the bytes that this process may have: the least of its control groups' and the machine's."""
    total = _read(root / "proc/meminfo").partition("MemTotal:")[2].split()
    limits = [int(total[0]) * 1024] if total else []
    return min([*limits, *_group_limits(root)], default=0)


def socket_limit(root: Path = _ROOT) -> int:
    """Return the bytes from which on the kernel refuses memory to TCP sockets (``net.ipv4.tcp_mem``)."""
    return _field(root / "proc/sys/net/ipv4/tcp_mem", 2) * _PAGE


def descriptor_limit() -> int:
    """Return how many descriptors may be open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 0 if soft == resource.RLIM_INFINITY else soft


def _group_limits(root: Path) -> Iterator[int]:
    """Yield the limits of the control groups that this process is in, up to the outermost that it sees."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path may be the host's, and only the mount's own root be there.
        group = base / path.lstrip("/")
        for folder in (group, *group.parents):
            if text := _read(folder / name).strip():
                yield from [int(text)] if text.isdigit() else []
            if folder == base:
                break


def _field(path: Path, index: int) -> int:
    fields = _read(path).split()
    return int(fields[index]) if len(fields) > index else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
