"""Bounds that fit the machine: what nobody has set is as large as its memory and its descriptors allow.

Of the bounds in bytes each has at most its share of the memory; they count payloads, of which Python objects take
more, and beside them the process itself needs 60 MiB. Descriptors are dealt out among sockets and fetches.
"""

import re
import resource
from collections.abc import Collection, Mapping
from typing import Any, Final

__all__ = [
    "FRAMES",
    "JOBS",
    "PROCESS",
    "QUEUED",
    "READING",
    "REFUSED",
    "SELECTING",
    "SHARES",
    "SPARE",
    "STEPS",
    "above_memory",
    "fit_descriptors",
    "fit_memory",
    "share",
    "size_of",
]

SHARES: Final = {
    "rings_size": 1 / 8, "ring_size": 1 / 64, "backlogs_size": 1 / 8, "batches_size": 1 / 8, "batch_size": 1 / 16,
    "cache_size": 1 / 32,
}  # fmt: skip
"""Of each bound in bytes the most that it has of the memory, where nobody set it."""
READING: Final = 1 / 8
"""The same for the bodies that are being read from upstreams, which have no setting."""
SELECTING: Final = 1 / 32
"""The same for bodies of watches of which something is to be selected."""
STEPS: Final = 1 / 8
"""The same for bodies whose steps wait or run."""
JOBS: Final = 1 / 16
"""The same for jobs, where they are in memory."""
FRAMES: Final = 1 / 8
"""The same for items of pipelines that are under way."""
PROCESS: Final = 128 << 20
"""Bytes of memory that there have to be for each process of a pipeline."""
QUEUED: Final = 1 / 16
"""The same for batches whose URLs wait to be fetched."""
COUNTS: Final = {"websockets": 80 << 10, "upstream": 4 << 20}
"""Bytes of memory that there have to be for each: a quarter is what it takes, buffers of the kernel included."""
CREDIT: Final = 1 / 128
"""The same for the results of one batch that wait for its reader, before its next fetch begins."""
_ADDED_UP: Final = ("rings_size", "backlogs_size", "batches_size", "cache_size")
_MOST: Final = 0.7
"""The share of the memory that all bounds may have together before the service warns of them."""
_LEAST: Final = 64 << 10

SPARE: Final = 100
"""Descriptors for files, the loop, the log, name servers, health checks and connections that are to be refused."""
REFUSED: Final = 50
"""Those of them that are for health checks, and for connections that are to be refused."""
_SOCKETS: Final = {"websockets": 3, "connections": 1, "upstream": 1}
"""What needs a descriptor for each, and in which proportion they share what is too little for all."""
_FEWEST: Final = 8

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) *([KMGT]?)(?:i?B)?", re.IGNORECASE)
_UNITS: Final = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def size_of(text: str) -> str:
    """Return a size with a unit (512MiB, 512M, 1.5g) as bytes, and anything else as it is; K is 1,024."""
    found = _SIZE.fullmatch(text.strip())
    return str(int(float(found[1]) * (1 << _UNITS[found[2].lower()]))) if found and not text.isdigit() else text


def share(part: float, memory: int, most: int) -> int:
    """Return a bound: this part of the memory, and at most this much; 0 bytes mean that the memory is not known."""
    return min(most, max(_LEAST, int(part * memory))) if memory else most


def fit_memory(values: Mapping[str, Any], given: Collection[str], memory: int) -> dict[str, int]:
    """Return the bounds that have to be lower than they are, of those that were not given."""
    bounds = {
        name: share(part, memory, values[name])
        for name, part in SHARES.items()
        if name not in given and values[name]
    }
    if "ring_size" in bounds:
        bounds["ring_size"] = min(bounds["ring_size"], bounds.get("rings_size", values["rings_size"]))
    if memory:
        bounds |= {name: max(_FEWEST, memory // size) for name, size in COUNTS.items() if name not in given}
    return {name: bound for name, bound in bounds.items() if bound < values[name]}


def above_memory(values: Mapping[str, Any], given: Collection[str], memory: int) -> list[str]:
    """Return a line for each given bound that may fill the memory together with the others, and what to set."""
    total = sum(values[name] for name in _ADDED_UP)
    if not memory or total <= _MOST * memory:
        return []
    return [
        f"--{name.replace('_', '-')}: {values[name]:,} bytes are more than its share of the "
        f"{memory:,} that there are, and all bounds have {total:,}: take at most "
        f"{int(SHARES[name] * memory):,}, or give it more memory"
        for name in _ADDED_UP
        if name in given and values[name] > SHARES[name] * memory
    ]


def fit_descriptors(values: Mapping[str, Any], given: Collection[str]) -> tuple[dict[str, int], list[str]]:
    """Return how many there may be of each that was not given, and a line if what was given needs too many.

    The hard limit counts, to which the process raises its own.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY:
        return {}, []
    wanted = {name: values[name] for name in _SOCKETS}
    free = [name for name in wanted if name not in given]
    left = hard - SPARE - sum(wanted[name] for name in wanted if name not in free)
    if left >= sum(min(wanted[name], _FEWEST) for name in free):
        dealt = _deal({name: wanted[name] for name in free}, left)
        return {name: number for name, number in dealt.items() if number < wanted[name]}, []
    return {}, [_too_many(wanted, free, hard)]


def _deal(wanted: Mapping[str, int], left: int) -> dict[str, int]:
    """Deal out what is left, in proportion, and to none more than it wants."""
    dealt: dict[str, int] = {}
    for name in sorted(wanted, key=lambda name: wanted[name] / _SOCKETS[name]):
        parts = sum(_SOCKETS[other] for other in wanted if other not in dealt)
        dealt[name] = min(wanted[name], (left - sum(dealt.values())) * _SOCKETS[name] // parts)
    return dealt


def _too_many(wanted: Mapping[str, int], free: Collection[str], hard: int) -> str:
    """Say what needs more descriptors than there are, and numbers that fit."""
    given = [name for name in wanted if name not in free]
    least = SPARE + sum(wanted[name] if name in given else min(wanted[name], _FEWEST) for name in wanted)
    largest = max(given, key=wanted.__getitem__, default="websockets")
    parts = [", ".join(f"{name} {wanted[name]}" for name in given)] if given else []
    shares = "; ".join([*parts, f"{SPARE} for the service itself"])
    what = f"--{largest}: {least} descriptors are needed ({shares}) and the limit is {hard}: "
    what += f"raise it (ulimit -Hn, LimitNOFILE=) to {least}"
    fewer = wanted[largest] - (least - hard)
    if given and fewer >= 1:
        return f"{what}, or take --{largest} {fewer}"
    fitting = _deal(wanted, hard - SPARE)
    if min(fitting.values()) < 1:
        return what
    return f"{what}, or take {' '.join(f'--{name} {number}' for name, number in fitting.items())}"
