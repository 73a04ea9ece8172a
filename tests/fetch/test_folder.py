"""Bodies as files: whole or not at all, never through a link, and known to the next run."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

from service.commands.fetch.folder import Folder, SavingFailed
from service.commands.fetch.inputs import UrlList
from service.runtime import whole_files
from tests.threads import start_no_threads

ORIGIN = "http://h.example:80"
A, B = "http://h.example/a", "http://h.example/b"


def listed(*urls: str) -> UrlList:
    made = UrlList()
    for url in urls:
        made.add(url)
    return made


def save(folder: Folder, url: str, body: bytes = b"body", content_type: str = "text/html") -> str:
    return folder.save(url, ORIGIN, content_type, 200, body)


def index(folder: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in (folder / "index.ndjson").read_bytes().splitlines()]


def opened(path: Path, *urls: str, verify: bool = False) -> tuple[Folder, dict[int, str]]:
    folder = Folder(path)
    return folder, folder.load(listed(*urls), verify=verify)


def test_a_file_is_there_whole_listed_and_known_to_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder"
    folder, whole = opened(path, A)
    assert whole == {}
    name = save(folder, A)
    assert (path / name).read_bytes() == b"body"
    with pytest.raises(SavingFailed, match="another run"):
        Folder(path)
    folder.close()
    folder, whole = opened(path, B, A)
    folder.close()
    assert whole == {1: name}
    [line] = index(path)
    assert line["url"] == A
    assert (line["file"], line["status"], line["type"], line["bytes"]) == (name, 200, "text/html", 4)
    assert len(str(line["sha256"])) == 64
    assert str(line["when"]).endswith("Z")
    assert sorted(os.listdir(path)) == ["h.example", "index.ndjson"]


def test_what_was_cut_or_changed_is_fetched_again_under_its_own_name(tmp_path: Path) -> None:
    folder, _ = opened(tmp_path, A, B)
    a, b = save(folder, A), save(folder, B)
    folder.close()
    (tmp_path / a).write_bytes(b"bo")
    (tmp_path / b).write_bytes(b"bodx")
    folder, whole = opened(tmp_path, A, B)
    assert whole == {1: b}
    assert save(folder, A, b"again") == a
    folder.close()
    folder, whole = opened(tmp_path, A, B, verify=True)
    folder.close()
    assert whole == {0: a}


def test_a_cut_last_line_is_passed_over_and_the_next_one_stands_alone(tmp_path: Path) -> None:
    folder, _ = opened(tmp_path, A)
    save(folder, A)
    folder.close()
    with (tmp_path / "index.ndjson").open("ab") as file:
        file.write(b'{"url":"http://h.exa')
    folder, whole = opened(tmp_path, A, B)
    assert len(whole) == 1
    save(folder, B)
    folder.close()
    _, whole = opened(tmp_path, A, B)
    assert len(whole) == 2


def test_lines_that_name_no_file_of_the_folder_are_not_believed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"body")
    path = tmp_path / "out"
    path.mkdir()
    (path / "link").symlink_to("../secret")
    os.mkfifo(path / "fifo")
    names = [
        "../secret",
        "/etc/passwd",
        "link",
        "fifo",
        "",
        "a\0b",
        "./link",
        "h/../link",
        str(tmp_path / "secret"),
    ]
    lines = [
        {"url": A, "file": name, "status": 200, "type": "", "bytes": 4, "sha256": "", "when": ""} for name in names
    ]
    (path / "index.ndjson").write_bytes(b"\n".join(map(orjson.dumps, lines)) + b'\n{"url": 1}\n[]\n\xff\n')
    folder, whole = opened(path, A)
    folder.close()
    assert whole == {}


def test_files_of_others_are_kept(tmp_path: Path) -> None:
    (tmp_path / "h.example").mkdir()
    (tmp_path / "h.example" / "a.html").write_text("mine")
    (tmp_path / "h.example" / "b").write_text("mine")
    folder, _ = opened(tmp_path, A)
    assert save(folder, A) != "h.example/a.html"
    assert save(folder, "http://h.example/b/c") == "h.example/b~/c.html"
    assert (tmp_path / "h.example" / "a.html").read_text() == "mine"
    folder.close()


@pytest.mark.parametrize("place", ["h.example", "h.example/a.html", ".incomplete", "index.ndjson"])
@pytest.mark.parametrize("to", ["file", ".", "missing"])
def test_planted_links_are_refused_and_not_followed(tmp_path: Path, place: str, to: str) -> None:
    victim, out = tmp_path / "victim", tmp_path / "out"
    victim.mkdir()
    (victim / "file").write_text("precious")
    (out / place).parent.mkdir(parents=True)
    (out / place).symlink_to(victim / to)

    def whole_run() -> None:
        folder, _ = opened(out, A)
        try:
            save(folder, A)
        finally:
            folder.close()

    with pytest.raises((OSError, SavingFailed), match="symbolic link"):
        whole_run()
    assert os.listdir(victim) == ["file"]
    assert (victim / "file").read_text() == "precious"
    assert (out / place).is_symlink()


def test_unfinished_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".incomplete").mkdir()
    (tmp_path / ".incomplete" / "0").write_text("half")
    folder, _ = opened(tmp_path, A)
    save(folder, A)
    folder.close()
    assert not (tmp_path / ".incomplete").exists()


def test_a_full_disk_leaves_nothing_and_the_index_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = opened(tmp_path, A, B)
    save(folder, A)

    def full(descriptor: int, body: bytes) -> None:
        os.write(descriptor, body[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(whole_files, "write_all", full)
        with pytest.raises(OSError, match="No space"):
            save(folder, B)
    assert os.listdir(tmp_path / "h.example") == ["a.html"]
    assert os.listdir(tmp_path / ".incomplete") == []
    folder.close()
    folder, _ = opened(tmp_path, A, B)
    assert save(folder, B) == "h.example/b.html"
    folder.close()
    assert [line["url"] for line in index(tmp_path)] == [A, B]


def test_a_folder_of_the_earlier_naming_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat-0123456789abcdef.jpg").write_text("")
    with pytest.raises(SavingFailed, match="earlier version"):
        Folder(tmp_path)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SavingFailed):
        Folder(tmp_path / "file")


def test_urls_that_differ_by_case_are_apart(tmp_path: Path) -> None:
    folder, _ = opened(tmp_path, A)
    names = {save(folder, A).casefold(), save(folder, "http://h.example/A").casefold()}
    folder.close()
    assert len(names) == 2


async def test_a_file_that_no_thread_can_save_is_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = opened(tmp_path, A)
    with ThreadPoolExecutor() as threads:
        with monkeypatch.context() as patch:
            start_no_threads(patch)
            with pytest.raises(OSError, match="a thread cannot be started"):
                await folder.begin_saving(threads, A, ORIGIN, "text/html", 200, b"body")
        name = await folder.begin_saving(threads, B, ORIGIN, "text/html", 200, b"body")
    folder.close()
    assert (tmp_path / name).read_bytes() == b"body"
