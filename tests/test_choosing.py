"""What ``./x bench work`` says of a run: its tables fit the page, its inputs are as they are said to be."""

import hashlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.processes import build
from bench.work import save, video
from bench.work.command import FIGURES, PARTS
from bench.work.count import _top
from bench.work.faces import _Watched
from bench.work.log import write_log
from bench.work.player import Played
from bench.work.running import Ran, failures

DOCUMENT = Path(__file__).parents[1] / "docs" / "choosing.md"


def test_every_row_of_the_document_is_of_a_part_and_whole() -> None:
    for name, cells in FIGURES.rows_of(DOCUMENT.read_text()).items():
        assert name.split(":")[0] in PARTS
        assert len(cells) == len(FIGURES.heads)


def test_the_document_has_a_place_for_every_part() -> None:
    rows = [[f"{name}: x", *["x"] * (len(FIGURES.heads) - 1)] for name in PARTS]
    document = FIGURES.written(DOCUMENT.read_text(), rows[::-1], "here")
    assert [name for name in FIGURES.rows_of(document) if name.endswith(": x")] == [row[0] for row in rows]


def test_a_file_that_is_not_what_its_name_says_is_found(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"abc").hexdigest()
    (tmp_path / digest[:2]).mkdir()
    whole = tmp_path / digest[:2] / f"{digest}.text%2Fplain"
    whole.write_bytes(b"abc")
    assert save._whole(tmp_path) == [digest]
    whole.write_bytes(b"ab")
    with pytest.raises(RuntimeError, match="not what its name says"):
        save._whole(tmp_path)


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ({"event": "result", "url": "u", "right": True}, ""),
        ({"event": "result", "url": "u", "right": False}, "1 results are wrong, the first of u"),
        ({"event": "failed", "error": "timeout", "detail": "slow"}, "1 failed, the first as timeout: slow"),
    ],
)
def test_what_is_wrong_with_a_batch_is_said(event: dict[str, Any], says: str) -> None:
    assert failures(Ran(1.0, [event, {"event": "done"}], {}), lambda one: one["right"]) == says


def test_the_log_has_its_size_whole_lines_and_few_frequent_addresses(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    write_log(log, 1)
    lines = log.read_bytes().splitlines(keepends=True)
    assert (1 << 20) - 1024 < log.stat().st_size <= 1 << 20
    assert all(line.endswith(b"\n") and line.count(b'"') == 6 for line in lines)
    counts = Counter(line.split()[0] for line in lines).most_common()
    assert counts[0][1] > 20 * counts[len(counts) // 2][1]
    before = log.read_bytes()
    log.unlink()
    write_log(log, 1)
    assert log.read_bytes() == before


def test_counts_are_read_as_lines_and_as_json() -> None:
    lines, document = "3 a\n1 b c\n", {"top": [{"key": "a", "count": 3}, {"key": "b c", "count": 1}]}
    assert _top(lines) == _top(json.dumps(document)) == [(3, "a"), (1, "b c")]


@pytest.mark.parametrize(
    ("looks", "flat"),
    [
        ([100.0] * 40, True),
        ([50.0] * 10 + [100.0] * 30, True),
        ([100.0] * 30 + [120.0] * 10, False),
        ([100.0], True),
    ],
    ids=["the same", "grown at first", "grown at last", "one look"],
)
def test_memory_that_has_grown_after_the_beginning_is_not_flat(looks: list[float], flat: bool) -> None:
    assert _Watched(looks).flat is flat


def test_the_slowest_of_each_half() -> None:
    assert Played(times=[0.1] * 99 + [0.2] * 101).p99_ms == (200.0, 200.0)
    assert Played(times=[0.1] * 100 + [0.3] * 100).p99_ms == (100.0, 300.0)


def test_a_frame_has_its_number_and_shows_what_went_in() -> None:
    if video.missing():
        pytest.skip("the extra vision, or the group vision, is not installed")
    frames = video.frames()
    assert [video.number_of(frames[number]) for number in (0, 1, 127, 255)] == [0, 1, 127, 255]
    inside, outside = video.difference(frames[5], 5)
    assert max(inside, outside) < 4


def test_the_distance_is_a_round_trip_for_a_connection_and_for_each_answer() -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()

        def answer() -> None:
            one, _ = listener.accept()
            with one:
                while data := one.recv(100):
                    one.sendall(data * 100_000)

        answering = threading.Thread(target=answer)
        answering.start()
        proxy = subprocess.Popen(
            [build("delay"), str(port), str(listener.getsockname()[1]), "100"], stdout=subprocess.PIPE, text=True
        )
        with proxy:
            try:
                assert proxy.stdout is not None
                assert proxy.stdout.readline() == "ready\n"
                with socket.create_connection(("127.0.0.1", port)) as client:
                    for least in (0.2, 0.1):
                        begin = time.monotonic()
                        client.sendall(b"x")
                        got = b""
                        while len(got) < 100_000:
                            got += client.recv(1 << 16)
                        assert got == b"x" * 100_000
                        assert time.monotonic() - begin >= least - 0.005
                answering.join(30)
                assert not answering.is_alive()
            finally:
                proxy.kill()
