"""What executors do: the counts of parts add up, and what they are sent needs nothing but the standard library."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from service.work.file_counts import partitions as module
from service.work.file_counts.partitions import FilePart, KeyRanking, count_part, rank
from service.work.file_counts.spark import write_modules
from service.work.line_keys import LineKeys
from service.work.patterns import has_re2

FIELD = LineKeys(field=1)


def counted(path: Path, size: int, keys: LineKeys = FIELD, *, re2: bool = has_re2()) -> list[tuple[bytes, int]]:
    """Return what all parts of a file have, each name once."""
    found: Counter[bytes] = Counter()
    whole = path.stat().st_size
    for at in range(0, whole, size):
        for name, count in count_part(FilePart(str(path), at, min(at + size, whole)), keys, re2):
            found[name] += count
    return list(found.items())


def test_parts_add_up_and_are_ranked_by_count_and_then_by_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TABLE", 10)
    lines = [b"%d x" % (number * number % 97) for number in range(3000)] + [b"", b"\xff", b"\xc3\xa4", b"\xc3\xa4"]
    path = tmp_path / "file"
    path.write_bytes(b"\r\n".join(lines))
    right = Counter(line.split()[0].decode("utf-8", "backslashreplace") for line in lines if line)
    best = sorted((-count, key) for key, count in right.items())
    for size in (7, 100, 100_000):
        assert list(rank(counted(path, size), 9)) == [KeyRanking(3004, 1, len(right), best[:9], {})]
    assert next(rank([], 9)) == KeyRanking(0, 0, 0, [], {})


def test_a_file_that_an_executor_cannot_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "fi\nle"
    (ranking,) = rank(count_part(FilePart(str(path), 0, None), FIELD, has_re2()), 9)
    assert ranking == KeyRanking(0, 0, 0, [], {str(path): "No such file or directory"})
    path.write_bytes(b"a\nb")
    (ranking,) = rank(count_part(FilePart(str(path), 0, 10), FIELD, has_re2()), 9)
    assert ranking == KeyRanking(1, 0, 1, [(-1, "a")], {str(path): "has become shorter while it was read"})


def test_patterns_have_to_mean_the_same_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\n")
    (ranking,) = rank(counted(path, 10, LineKeys(regex="(a)"), re2=not has_re2()), 9)
    assert "google-re2" in ranking.failed[str(path)]
    assert ranking.lines == 0
    (ranking,) = rank(counted(path, 10, LineKeys(regex="(a)")), 9)
    assert ranking.top == [(-1, "a")]


def test_what_executors_are_sent_needs_the_standard_library_alone(tmp_path: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(write_modules(tmp_path))!r})\n"
        "from service.work.file_counts.partitions import *\n"
        "from service.work.line_keys import LineKeys\n"
        f"for key in (LineKeys(field=1), LineKeys(regex='(i)mport')):\n"
        f"    print(*count_part(FilePart({__file__!r}, 0, None), key, False))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert b"(b'kimport', " in done.stdout
    assert b"(b'ki', " in done.stdout
