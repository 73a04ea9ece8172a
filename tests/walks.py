"""Walks through the code: the hops that ARCHITECTURE.md lists, and the functions that a real run calls."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parent.parent
_HOP = re.compile(r"\| [0-9]+ \| `([a-z0-9_/]+\.py)` \(`(\w+)`\) \|")


def hops(heading: str) -> list[tuple[str, str]]:
    """Return file and function of each hop of a section of ARCHITECTURE.md."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return _HOP.findall(section)


@contextmanager
def calls() -> Iterator[list[tuple[str, str]]]:
    """Yield file and function of each call of the service's own functions, in order."""
    seen: list[tuple[str, str]] = []
    root = str(ROOT / "service") + "/"

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(root):
            seen.append((frame.f_code.co_filename.removeprefix(root), frame.f_code.co_name))

    sys.setprofile(profile)
    try:
        yield seen
    finally:
        sys.setprofile(None)
