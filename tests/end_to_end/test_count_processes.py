"""Processes that count: more keys than fit, and one that does not come to an end."""

import random
from collections import Counter
from pathlib import Path

import pytest

from service.work.counting import Counts
from service.work.file_counts import processes as module
from service.work.file_counts.files import parts_of
from service.work.file_counts.processes import CountingFailed, Processes
from service.work.line_keys import LineKeys


def fail(name: str, why: str) -> None:
    raise AssertionError(f"{name}: {why}")


def test_more_keys_than_fit_are_within_the_error_bound(tmp_path: Path) -> None:
    chance = random.Random(1)
    keys = [b"%d" % int(200_000 ** chance.random()) for _ in range(250_000)]
    names = []
    for number in range(2):
        names.append(str(tmp_path / f"{number}"))
        Path(names[-1]).write_bytes(b"\n".join(keys[number::2]))
    counts, read = Counts(1000), []
    with Processes(2, LineKeys(field=1), counts, read.append, fail) as processes:
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
    with Processes(1, LineKeys(regex="^((?:a+)+)$"), Counts(), lambda size: None, fail) as processes:
        parts = parts_of([str(tmp_path / "file")], fail)
        with pytest.raises(CountingFailed, match=says):
            processes.run(parts)
