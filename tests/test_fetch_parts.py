"""What ``sluice fetch`` is made of: names of files, whole files, lines to a reader, and figures."""

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.output import Output
from service.progress import Progress
from service.saving import Folder, SavingFailed, file_name


@pytest.mark.parametrize(
    ("url", "begins", "ends"),
    [
        ("https://h.example/a/cat.jpg?w=1", "cat-", ".jpg"),
        ("https://h.example/", "index-", ""),
        ("https://h.example/a%2F..%2f..%2Fetc%2Fpasswd", "passwd-", ""),
        ("https://h.example/.bashrc", "bashrc-", ""),
        ("https://h.example/x.tar.gz", "x.tar-", ".gz"),
        ("https://h.example/" + "a" * 2000 + ".html", "a" * 48 + "-", ".html"),
        ("not a url [", "not_a_url-", ""),
    ],
)
def test_names_that_can_be_read(url: str, begins: str, ends: str) -> None:
    name = file_name(url)
    assert name.startswith(begins)
    assert name.endswith(ends)


@given(st.text(max_size=300))
def test_every_name_is_harmless(url: str) -> None:
    name = file_name(url)
    assert name == os.path.basename(name)
    assert not name.startswith((".", "-"))
    assert name.isascii()
    assert name.isprintable()
    assert len(name) <= 80
    assert name == file_name(url)


@given(st.text(max_size=50), st.text(max_size=50))
def test_no_two_urls_have_one_name_whatever_the_file_system_makes_of_case(one: str, other: str) -> None:
    assert one == other or file_name(one).lower() != file_name(other).lower()


def test_a_file_is_there_whole_and_known_to_the_next_run(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "new" / "folder")
    assert not folder.has("http://h.example/a")
    name = folder.save("http://h.example/a", b"body")
    assert (folder.path / name).read_bytes() == b"body"
    with pytest.raises(SavingFailed, match="another run"):
        Folder(folder.path)
    folder.close()
    again = Folder(folder.path)
    assert again.has("http://h.example/a")
    again.close()
    assert os.listdir(folder.path) == [name]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SavingFailed):
        Folder(tmp_path / "file")


def test_lines_come_in_order_and_nobody_waits_for_their_reader() -> None:
    stream = io.BytesIO()
    output = Output(stream)
    for number in range(1000):
        output.put(b"%d" % number)
    output.close()
    assert stream.getvalue().split() == [b"%d" % number for number in range(1000)]
    assert output.waiting == 0


def test_a_reader_that_left_is_noticed() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb", buffering=0) as stream:
        output = Output(stream)
        output.put(b"x")
        output.close()
    assert output.broken


def test_progress_fits_a_terminal_and_ends_with_a_summary() -> None:
    stream = io.StringIO()
    progress = Progress(10_000_000, stream)
    progress.ok, progress.failed, progress.skipped = 5_000_000, 1_000_000, 1
    assert len(progress.line()) <= 79
    assert "6,000,001/10,000,000" in progress.line()
    progress.end(interrupted=True)
    assert "5,000,000 fetched, 1,000,000 failed, 1 there already" in stream.getvalue()
    assert "interrupted with 3,999,999 left" in stream.getvalue()
    Progress(1, None).end(interrupted=False)
