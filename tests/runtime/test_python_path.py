"""Modules of ours and of Python are found, and the operator's too, with anything in the working directory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.runtime import python_path
from service.runtime.python_path import command, environment, take_over

ROOT = Path(python_path.__file__).parent.parent.parent
MODULE = '''"""Says where modules come from."""
import json, sys
import service, loadtest, mine
print(json.dumps([json.__file__, service.__file__, loadtest.__file__, mine.__file__, __name__, sys.argv]))
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("service", "loadtest"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the user\\'s')\n")
    for name in ("json", "types", "runpy", "orjson", "msgspec"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the user\\'s')\n")
    (tmp_path / "mine.py").write_text("")
    (tmp_path / "says.py").write_text(MODULE)
    return tmp_path


def run(folder: Path, *argv: str, **env: str) -> str:
    child = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, **env})
    assert child.stderr == ""
    return child.stdout


def test_a_process_imports_our_modules_first_and_the_operators_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(folder)  # where the module of an operator has put it first, too
    said = json.loads(run(folder, *command("says", "-x", "1"), **environment()))
    assert said == [
        json.__file__,
        str(ROOT / "service/__init__.py"),
        str(ROOT / "loadtest/__init__.py"),
        str(folder / "mine.py"),
        "__main__",
        [str(folder / "says.py"), "-x", "1"],
    ]


def test_programs_that_it_starts_do_not_get_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    environ = {"A": "b", "_SLUICE_PATH": f"/nowhere:{sys.path[-1]}:"}
    before = list(sys.path)
    take_over(environ)
    assert (environ, sys.path) == ({"A": "b"}, [*before, "/nowhere"])
    assert "PYTHONPATH" not in {name for name in environment() if name not in os.environ}


@pytest.mark.parametrize("program", [("-m", "service", "--help"), ("-m", "loadtest", "--help")])
def test_programs_do_not_import_modules_of_the_working_directory(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, program: tuple[str, ...]
) -> None:
    for name in ("service", "loadtest"):  # `python -m` would take these themselves
        (folder / name / "__init__.py").unlink()
        (folder / name).rmdir()
    (folder / "types.py").unlink()  # and Python itself imports these for it
    (folder / "runpy.py").unlink()
    assert run(folder, sys.executable, *program, PYTHONPATH=str(ROOT)).startswith("usage: ")
