"""The limits of a process that the service starts."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from service.runtime.child_process import limit
limit(int(sys.argv[1]))
print(*resource.getrlimit(resource.RLIMIT_AS))
"""


@pytest.mark.parametrize(
    ("ours", "memory", "limits"),
    [
        ("unlimited", 1 << 30, "1073741824 1073741824"),
        ("2000000", 1 << 30, "1073741824 1073741824"),
        ("1000000", 2 << 30, "1024000000 1024000000"),
        ("1000000", 0, "1024000000 1024000000"),
    ],
)
def test_memory_is_bounded_by_the_limit_that_is_inherited_too(ours: str, memory: int, limits: str) -> None:
    command = ("sh", "-c", f'ulimit -v {ours} && exec "$@"', "sh", sys.executable, "-c", SCRIPT, str(memory))
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (child.stdout.strip(), child.stderr) == (limits, "")
