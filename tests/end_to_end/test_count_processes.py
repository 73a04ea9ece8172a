"""Processes that count: more keys than fit, a process that does not end, and some that are killed."""

import gzip
import random
from collections import Counter
from pathlib import Path

import pytest

from service.work.counting import KeyCounts
from service.work.file_counts import processes as module
from service.work.file_counts.files import parts_of
from service.work.file_counts.processes import CountingFailed, Processes
from service.work.line_keys import LineKeys


def fail(name: str, why: str) -> None:
    raise AssertionError(f"{name}: {why}")


def lost(why: str) -> None:
    raise AssertionError(why)


def test_more_keys_than_fit_are_within_the_error_bound(tmp_path: Path) -> None:
    chance = random.Random(1)
    keys = [b"%d" % int(200_000 ** chance.random()) for _ in range(250_000)]
    names = []
    for number in range(2):
        names.append(str(tmp_path / f"{number}"))
        Path(names[-1]).write_bytes(b"\n".join(keys[number::2]))
    counts, read = KeyCounts(1000), []
    with Processes(2, LineKeys(field=1), counts, read.append, fail, lost) as processes:
        processes.run(parts_of(names, fail, 300_000))
    found = counts.summary(1000)
    assert (found["lines"], found["skipped"], found["exact"]) == (250_000, 0, False)
    assert found["error_bound"] <= 250_000 / 500
    right = Counter(keys)
    reported = {one["key"].encode(): one["count"] for one in found["top"]}
    for key, count in right.items():
        assert count - found["error_bound"] <= reported.get(key, 0) <= count
    assert sum(Path(name).stat().st_size for name in names) <= sum(read)


def test_a_pattern_that_backtracks_for_ever_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MODULE", "tests.work.file_counts.impatient")
    (tmp_path / "file").write_bytes(b"a" * 100 + b"b\n")
    says = r"file: the regular expression computed .* it backtracks; .*sluice\[count\]"
    with Processes(1, LineKeys(regex="^((?:a+)+)$"), KeyCounts(), lambda size: None, fail, lost) as processes:
        parts = parts_of([str(tmp_path / "file")], fail)
        with pytest.raises(CountingFailed, match=says):
            processes.run(parts)


def test_what_a_process_had_that_was_killed_is_counted_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A table has 1,000 keys: when a process is killed, it has reported some keys of its part, and others not.
    monkeypatch.setattr(module, "_MODULE", "tests.work.file_counts.mortal")
    lines, deaths = [b"%d" % (number % 3500) for number in range(200_000)], []
    for number, at in enumerate((60_000, 110_000, 150_000)):
        deaths.append(tmp_path / f"death{number}")
        deaths[-1].write_text("1")
        lines.insert(at, b"die " + bytes(deaths[-1]))
    data = b"\n".join(lines)
    (tmp_path / "plain").write_bytes(data)
    for death in deaths:
        data = data.replace(bytes(death), bytes(death) + b"z")
        Path(f"{death}z").write_text("1" if death is deaths[1] else "0")  # the file is one part, tried twice
    (tmp_path / "gzip").write_bytes(gzip.compress(data, 1))
    counts, read, ended = KeyCounts(), list[int](), list[str]()
    names = [str(tmp_path / "plain"), str(tmp_path / "gzip")]
    with Processes(2, LineKeys(field=1), counts, read.append, fail, ended.append) as processes:
        processes.run(parts_of(names, fail, 300_000))
    found = counts.summary(5000)
    right = Counter(line.split()[0].decode() for line in lines)
    assert {one["key"]: one["count"] for one in found["top"]} == {key: 2 * count for key, count in right.items()}
    assert found["lines"] == 2 * len(lines)
    assert len(ended) == 4
    assert all("ended by SIGKILL at" in why and "counted once more" in why for why in ended)


def test_a_part_that_kills_two_processes_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MODULE", "tests.work.file_counts.mortal")
    (tmp_path / "death").write_text("2")
    (tmp_path / "file").write_bytes(b"a\ndie %b\n" % bytes(tmp_path / "death"))
    ended = list[str]()
    parts = parts_of([str(tmp_path / "file")], fail)
    with (
        Processes(1, LineKeys(field=1), KeyCounts(), lambda size: None, fail, ended.append) as processes,
        pytest.raises(CountingFailed, match="the second process that had it, so nothing is counted"),
    ):
        processes.run(parts)
    assert len(ended) == 1
