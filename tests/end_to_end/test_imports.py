"""What processes must not load: imports are most of a start."""

import sys
from pathlib import Path

from tests.end_to_end.processes import run

CODE = """
import sys
import loadtest.worker, loadtest.scenarios
assert "aiohttp" not in sys.modules, "a worker of the load generator has its own clients"
import service.app
assert "redis" not in sys.modules, "hishel loads it where it is installed"
import redis
assert redis.__file__.startswith(sys.argv[1])
"""


async def test_what_is_not_used_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "redis.py").touch()
    assert await run(sys.executable, "-c", CODE, str(tmp_path), env={"PYTHONPATH": str(tmp_path)}) == (0, "", "")
