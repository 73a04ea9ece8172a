"""What the kernel says of processes that are not children of the tests."""

from pathlib import Path

__all__ = ["children"]


def children(process: int) -> list[int]:
    """Return the processes that a process, of one thread, has started and that it has not waited for."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
