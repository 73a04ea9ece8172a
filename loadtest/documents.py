"""JSON reports of earlier runs, read again: what other commands rest on is looked at before it is used."""

from typing import Any

import msgspec
import orjson

from service.runtime.bounded_files import read_bounded

__all__ = ["read_report"]

_LARGEST = 256 << 20
"""Bytes of a report."""


class _Latency(msgspec.Struct):
    p50: float
    p90: float
    p99: float
    max: float


class _Round(msgspec.Struct):
    latency_ms: dict[str, _Latency]


class _Report(msgspec.Struct):
    latency_ms: dict[str, _Latency]
    checks: dict[str, float]
    counters: dict[str, float] = {}
    errors: dict[str, int] = {}
    options: dict[str, Any] = {}
    rounds: list[_Round] = []
    status: str = ""


def read_report(path: str) -> dict[str, Any]:
    """Return the report of a file; raises ValueError for other files, with the place that is wrong."""
    try:
        report: dict[str, Any] = orjson.loads(read_bounded(path, _LARGEST, pipes=True))
        msgspec.convert(report, _Report)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: not a report of loadtest (--json FILE writes one): {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    return report
