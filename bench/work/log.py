"""An access log whose addresses follow Zipf's law: made once, by a program, the same in each run."""

import itertools
import random
from pathlib import Path
from typing import Final

__all__ = ["write_log"]

_ADDRESSES: Final = 20_000
_BLOCK: Final = 64
"""MiB that are drawn; a longer log repeats them."""
_PATHS: Final = (
    "/",
    "/index.html",
    "/static/page.css",
    "/api/v1/items?page=2",
    "/images/logo.png",
    "/search?q=a+b",
)
_AGENTS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:146.0) Gecko/20100101 Firefox/146.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/143.0.0.0",
    "curl/8.17.0",
)


def write_log(path: Path, mebibytes: int) -> None:
    """Write a log of this size, to a line; a file that is there and as large is kept."""
    most = mebibytes << 20
    if path.exists() and abs(path.stat().st_size - most) < 1024:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    block, written = _block(min(most, _BLOCK << 20)), 0
    with path.open("wb") as file:
        while written < most:
            part = block if most - written >= len(block) else block[: block.rfind(b"\n", 0, most - written) + 1]
            if not part:
                return
            written += file.write(part)


def _block(size: int) -> bytes:
    """Return lines of this many bytes in all."""
    chance = random.Random(1)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, _ADDRESSES + 1)))
    addresses = [".".join(map(str, chance.randbytes(4))) for _ in range(_ADDRESSES)]
    lines, total = [], 0
    while total < size:
        for address in chance.choices(addresses, cum_weights=weights, k=10_000):
            second = chance.randrange(86_400)
            line = (
                f"{address} - - [27/Nov/2026:{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02} +0000] "
                f'"GET {chance.choice(_PATHS)} HTTP/1.1" {chance.choice((200, 200, 200, 304, 404))} '
                f'{chance.randrange(100_000)} "-" "{chance.choice(_AGENTS)}"\n'
            )
            lines.append(line)
            total += len(line)
    data = "".join(lines).encode()
    return data[: data.rfind(b"\n", 0, size) + 1]
