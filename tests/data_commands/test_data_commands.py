"""``sluice backup``, ``restore``, ``check``, ``export``: what they print, and their exit codes."""

import builtins
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import apsw
import pytest

from service.command_line import run_command
from service.commands import writing
from service.commands.progress_line import ProgressLine
from service.storage.tables import VERSION, Table
from tests.storage.stored import add_messages, add_topic, damage, new_database

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data directory with a topic of three messages."""
    monkeypatch.delenv("SLUICE_DATA", raising=False)
    database = new_database(tmp_path / "data")
    add_topic(database, 1, "t")
    add_messages(database, 1, 1, 3)
    database.close()
    return tmp_path / "data"


def sluice(capfd: Capture, *arguments: object) -> tuple[int, str, str]:
    """Run a command; return its exit code and what it wrote."""
    code = run_command(list(map(str, arguments)))
    return code, *capfd.readouterr()


def complaint(capfd: Capture, *arguments: object) -> str:
    """Run a command that fails with one line; return that."""
    code, out, err = sluice(capfd, *arguments)
    assert (code, out, err.count("\n")) == (1, "", 1), (code, out, err)
    assert err.startswith("sluice: ")
    return err[len("sluice: ") : -1]


def test_a_backup_is_made_checked_restored_and_exported(data: Path, tmp_path: Path, capfd: Capture) -> None:
    file, new = tmp_path / "b", tmp_path / "new"
    code, out, err = sluice(capfd, "backup", "--data", data, file)
    assert (code, err) == (0, "")
    assert out.startswith(f"{file}: ")
    assert sluice(capfd, "check", file)[0] == 0
    code, out, err = sluice(capfd, "restore", "--data", new, file)
    assert (code, err) == (0, "")
    assert out == f"{new}: restored from {file}; topics keep their epochs and positions\n"
    assert sluice(capfd, "check", "--data", new)[0] == 0
    lines = [{"offset": offset, "data": "x"} for offset in (1, 2, 3)]
    for place in (("--data", data), (file,), ("--data", file), ("--data", new)):
        code, out, err = sluice(capfd, "export", *place, "--topic", "t")
        assert (code, err) == (0, "")
        assert list(map(json.loads, out.splitlines())) == lines


def test_check_shows_what_is_kept(data: Path, capfd: Capture) -> None:
    code, out, _ = sluice(capfd, "check", "--data", data)
    assert code == 0
    assert out.splitlines()[0].startswith(f"{data}/sluice.db: format {VERSION}, ")
    assert [line.split()[:2] for line in out.splitlines()[1:4]] == [
        ["topics", "1"],
        ["messages", "3"],
        ["keys", "0"],
    ]
    assert "published  1970-01-01T00:16:41.000Z to 1970-01-01T00:16:43.000Z" in out
    assert out.splitlines()[-1] == "ok: every record is what was written"


def test_check_as_json_has_every_table(data: Path, capfd: Capture) -> None:
    code, out, _ = sluice(capfd, "check", "--data", data, "--json")
    found = json.loads(out)
    assert (code, out.count("\n"), found["ok"]) == (0, 1, True)
    kept = [table.value for table in Table if table is not Table.STATE]
    assert set(found["bytes"]) == set(kept) <= set(found)
    assert (found["topics"], found["messages"], found["damaged_rows"]) == (1, 3, [])


def test_what_is_damaged_is_named_and_ends_with_1(data: Path, capfd: Capture) -> None:
    damage(data / "sluice.db", Table.MESSAGES, 2)
    code, out, _ = sluice(capfd, "check", "--data", data)
    assert code == 1
    assert "damaged:   messages 2, topic t, offset 2\n" in out
    assert out.splitlines()[-1] == "FAILED: 1 damaged records"
    code, out, _ = sluice(capfd, "check", "--json", "--data", data)
    assert code == 1
    assert json.loads(out)["damaged_rows"] == [{"table": "messages", "id": 2, "topic": "t", "offset": 2}]
    code, out, _ = sluice(capfd, "export", "--data", data, "--topic", "t")
    assert code == 0
    assert json.loads(out.splitlines()[1]) == {"event": "gap", "from": 2, "to": 2}


def test_damage_is_backed_up_with_a_complaint_and_restored_only_when_that_is_meant(
    data: Path, tmp_path: Path, capfd: Capture
) -> None:
    damage(data / "sluice.db", Table.MESSAGES, 2)
    code, _, err = sluice(capfd, "backup", "--data", data, tmp_path / "b")
    assert (code, err.count("\n")) == (1, 1)
    assert "was made of damaged data: 1 damaged records" in err
    assert "--accept-damage" in complaint(capfd, "restore", "--data", tmp_path / "new", tmp_path / "b")
    assert not (tmp_path / "new").exists()
    code, _, err = sluice(capfd, "restore", "--data", tmp_path / "new", "--accept-damage", tmp_path / "b")
    assert (code, err) == (0, "")


def test_the_directory_may_come_from_the_environment(
    data: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_DATA", str(data))
    assert sluice(capfd, "check")[0] == 0
    assert sluice(capfd, "backup", tmp_path / "b")[0] == 0
    # A file wins over the environment, which the user may not think of.
    (tmp_path / "other").write_text("")
    assert "other is empty" in complaint(capfd, "check", tmp_path / "other")


@pytest.mark.parametrize(
    "arguments",
    [("check",), ("backup", "b"), ("restore", "b"), ("export", "--topic", "t"), ("check", "--data", "d", "f")],
)
def test_bad_usage_ends_with_2(arguments: tuple[str, ...], capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLUICE_DATA", raising=False)
    code, out, err = sluice(capfd, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--data DIR" in err


def test_what_cannot_be_done_is_one_line(data: Path, tmp_path: Path, capfd: Capture) -> None:
    missing = tmp_path / "missing"
    for arguments, named in (
        (("check", "--data", missing), "No such file"),
        (("check", missing), "No such file"),
        (("backup", "--data", tmp_path, tmp_path / "b"), "is not a data directory"),
        (("backup", "--data", data, missing / "b"), "make it first"),
        (("backup", "--data", data, data / "b"), "choose a place outside"),
        (("restore", "--data", data, missing), "No such file"),
        (("restore", "--data", data, data / "sluice.db"), "is not empty"),
        (("export", "--data", data, "--topic", "nobody"), "does not have the topic 'nobody'"),
    ):
        assert named in complaint(capfd, *arguments), arguments


def test_a_file_that_is_cut_short_is_one_line_or_a_fault(data: Path, tmp_path: Path, capfd: Capture) -> None:
    content = (data / "sluice.db").read_bytes()
    for size in (10, 100, 512, 4096, len(content) - 4096):
        (tmp_path / "cut").write_bytes(content[:size])
        code, out, err = sluice(capfd, "check", tmp_path / "cut")
        assert code == 1, size
        assert "Traceback" not in err
        assert err.count("\n") == 1 or "FAILED" in out, size
        assert sluice(capfd, "restore", "--data", tmp_path / "new", tmp_path / "cut")[0] == 1
        assert not (tmp_path / "new").exists()


def test_an_old_sqlite_is_refused_before_anything_is_opened(
    data: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.40.1")
    assert "SQLite 3.40.1" in complaint(capfd, "backup", "--data", data, tmp_path / "b")
    assert sorted(os.listdir(data)) == ["commits", "sluice.db"]


def test_a_missing_package_is_named(data: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_apsw(name: str, *rest: Any) -> Any:
        if name == "service.storage.reader":
            raise ModuleNotFoundError("No module named 'apsw'", name="apsw")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_apsw)
    assert "pip install 'sluice[data]'" in complaint(capfd, "export", "--data", data, "--topic", "t")


def test_a_reader_of_the_output_may_leave(data: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, pipe = os.pipe()
    os.close(reading)
    monkeypatch.setattr(writing, "write_all", lambda _, lines: os.write(pipe, lines))
    code, out, err = sluice(capfd, "export", "--data", data, "--topic", "t")
    os.close(pipe)
    assert (code, out, err) == (141, "", "")


def test_an_interrupt_takes_back_what_was_begun(
    data: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: object, done: int, total: int) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(ProgressLine, "report", interrupt)
    before = signal.getsignal(signal.SIGTERM)
    code, out, err = sluice(capfd, "backup", "--data", data, tmp_path / "b")
    assert (code, out, err) == (130, "", "sluice: interrupted\n")
    assert os.listdir(tmp_path) == ["data"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_directory_that_is_gone_meanwhile_is_one_line(
    data: Path, tmp_path: Path, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(self: object, done: int, total: int) -> None:
        shutil.rmtree(tmp_path / "target", ignore_errors=True)

    (tmp_path / "target").mkdir()
    monkeypatch.setattr(ProgressLine, "report", remove)
    assert "target" in complaint(capfd, "backup", "--data", data, tmp_path / "target" / "b")


@pytest.mark.parametrize("name", ["backup", "check"])
def test_what_looks_at_one_moment_ignores_ctrl_z(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture, name: str
) -> None:
    seen: list[object] = []
    monkeypatch.setattr(ProgressLine, "report", lambda *three: seen.append(signal.getsignal(signal.SIGTSTP)))
    target = [tmp_path / "b"] if name == "backup" else []
    assert sluice(capfd, name, "--data", data, *target)[0] == 0
    assert set(seen) == {signal.SIG_IGN}
    assert signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL
