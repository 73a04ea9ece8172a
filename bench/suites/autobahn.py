"""Autobahn|Testsuite: the cases for servers, from ``wstest``, an environment of Python 2.7, or Docker.

The suite has stayed with Python 2.7. Where an interpreter of it is found (on the PATH, or one that pyenv built) the
suite is installed under ``.bench/`` once; Docker has an image of it.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.suites.tool import Missing

__all__ = ["FAST", "WITHOUT_DEFLATE", "Report", "command", "judge"]

_VERSION: Final = "25.10.1"
_VIRTUALENV: Final = "20.21.1"
"""The last line of virtualenv that makes environments of Python 2.7."""
_IMAGE: Final = f"crossbario/autobahn-testsuite:{_VERSION}"
_HOME: Final = Path(__file__).parents[2] / ".bench" / "autobahn"

FAST: Final = ("9.*", "12.*", "13.*")
"""What is left out for the 247 cases that take 12 s: limits, and compression."""
WITHOUT_DEFLATE: Final = ("12.*", "13.*")
"""What is left out for all 301 that concern a server without compression."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the suite says of each case: its name, and its verdict on the behaviour and on the close."""

    cases: dict[str, tuple[str, str]]

    @property
    def counts(self) -> Counter[str]:
        """How many cases have which verdict; a case is FAILED when its behaviour or its close is wrong."""
        return Counter(self._verdict(case) for case in self.cases)

    def those(self, verdict: str) -> list[str]:
        """Return the cases with a verdict."""
        return [case for case in self.cases if self._verdict(case) == verdict]

    def _verdict(self, case: str) -> str:
        behaviour, close = self.cases[case]
        lawful = {"OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}
        return behaviour if behaviour in lawful and close in lawful else "FAILED"


def command() -> list[str]:
    """Return how ``wstest`` is started, after installing it where that is possible; raises Missing."""
    if path := shutil.which("wstest"):
        return [path]
    ours = [str(_HOME / "bin" / "python"), "-W", "ignore", str(_HOME / "bin" / "wstest")]
    if (_HOME / "installed").exists():
        return ours
    if python := next(_interpreters(), None):
        _install(python)
        return ours
    if _runs("docker", "image", "inspect", _IMAGE) or _runs("docker", "pull", _IMAGE):
        return ["docker", "run", "--rm", "--network", "host", "--volume", "FOLDER:FOLDER", _IMAGE, "wstest"]
    raise Missing("Autobahn|Testsuite needs wstest on the PATH, a Python 2.7 (pyenv install 2.7.18), or Docker")


def judge(url: str, folder: Path, excluded: Sequence[str], within: float = 300) -> Report:
    """Run the cases against a server; raises Missing, and RuntimeError when the suite did not end."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    spec = folder / "spec.json"
    server = {"agent": "sluice", "url": url}
    spec.write_text(
        json.dumps(
            {
                "outdir": str(folder),
                "servers": [server],
                "cases": ["*"],
                "exclude-cases": list(excluded),
                "exclude-agent-cases": {},
            }
        )
    )
    argv = [part.replace("FOLDER", str(folder)) for part in command()]
    ran = subprocess.run(
        [*argv, "-m", "fuzzingclient", "-s", str(spec)], capture_output=True, text=True, timeout=within, check=False
    )
    index = folder / "index.json"
    if ran.returncode or not index.exists():
        raise RuntimeError(f"wstest ended with {ran.returncode}: {(ran.stdout + ran.stderr)[-500:]}")
    cases = json.loads(index.read_text())["sluice"]
    return Report({name: (case["behavior"], case["behaviorClose"]) for name, case in cases.items()})


def _interpreters() -> Iterator[str]:
    """Yield what runs Python 2.7."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for candidate in ("python2.7", "pypy2.7", *map(str, sorted(root.glob("versions/2.7*/bin/python2.7")))):
        if _runs(candidate, "-c", "import sys, ssl; sys.exit(sys.version_info[:2] != (2, 7))"):
            yield candidate


def _runs(*argv: str) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, check=False, timeout=300).returncode == 0
    except OSError:
        return False


def _install(python: str) -> None:
    """Make the environment; raises Missing where the packages cannot be installed."""
    maker = _HOME.with_name("virtualenv")
    for argv in (
        [sys.executable, "-m", "venv", str(maker)],
        [str(maker / "bin" / "pip"), "install", "--quiet", f"virtualenv=={_VIRTUALENV}"],
        [str(maker / "bin" / "virtualenv"), "--quiet", "--python", shutil.which(python) or python, str(_HOME)],
        [str(_HOME / "bin" / "pip"), "install", "--quiet", f"autobahntestsuite=={_VERSION}"],
    ):
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
        if ran.returncode:
            raise Missing(f"Autobahn|Testsuite could not be installed: {' '.join(argv)}: {ran.stderr[-300:]}")
    (_HOME / "installed").touch()
