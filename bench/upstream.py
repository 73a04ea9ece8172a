"""The upstream of the fetching benchmarks: a local nginx, on core 1 for most, with documents of 1 KiB."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.processes import Child, reachable

__all__ = ["FOLDER", "PEERS", "PORT", "upstream", "url"]

PORT: Final = 18200
PEERS: Final = Path(__file__).parent / "peers"
FOLDER: Final = Path(".bench").absolute()
"""What nginx serves is in ``www`` below it."""


def url(path: str) -> str:
    """Return the URL of a path there."""
    return f"http://127.0.0.1:{PORT}/{path}"


@contextmanager
def upstream(core: int | str = 1) -> Iterator[None]:
    """Run it until the block ends; exits where there is no nginx."""
    if not shutil.which("nginx"):
        raise SystemExit("bench: nginx is needed (nginx-light)")
    nginx = Child(["nginx", "-c", str(_configure())], core=core)
    try:
        reachable(PORT)
        yield
    finally:
        nginx.stop()


def _configure() -> Path:
    (FOLDER / "www").mkdir(parents=True, exist_ok=True)
    FOLDER.chmod(0o755)
    (FOLDER / "www" / "1k").write_text("sluice " * 146 + "ab")
    config = FOLDER / "origin.conf"
    text = (PEERS / "origin.conf").read_text()
    config.write_text(text.replace("PORT", str(PORT)).replace("FOLDER", str(FOLDER)))
    return config
