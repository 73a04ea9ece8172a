"""The fuzz targets hold on their corpus everywhere, and for a thousand inputs of atheris where it is installed.

``./x bench fuzz`` goes on for longer. What it finds gets a line in the corpus with its repair.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
CORPUS = [
    (path.stem, line)
    for path in sorted((Path(__file__).parent / "corpus").iterdir())
    for line in path.read_text().splitlines()
]


@pytest.mark.parametrize(("target", "line"), CORPUS)
def test_a_target_holds_on_its_corpus(target: str, line: str) -> None:
    TARGETS[target](json.loads(line).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_thousand_inputs_find_nothing(target: str, tmp_path: Path) -> None:
    """Always the same ones: what they find is not a matter of chance, or of the speed of the machine."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: it has packages for Linux on x86-64, CPython 3.11 to 3.13")
    answer = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, "--seconds", "200", "--inputs", "1000", "--keep", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=240, check=False,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-5000:]
    runs = re.search(r"Done (\d+) runs", answer.stderr)
    assert runs
    assert int(runs[1]) == 1000
