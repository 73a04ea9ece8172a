"""Jobs for tests."""

from typing import Any

import msgspec

from service.core.jobs.job import Job

__all__ = ["new_job"]


def new_job(row: int = 1, **fields: Any) -> Job:
    """Return a job that publishes, was made at 100 and is due at 110."""
    base: dict[str, Any] = {
        "id": f"{row:x}-{'0' * 32}", "row": row, "epoch": "e", "owner": ("a", 1.0, True), "kind": "publish",
        "work": msgspec.Raw(b"{}"), "created": 100.0, "due": 110.0, "keep": 60.0,
    }  # fmt: skip
    return Job(**{**base, **fields})
