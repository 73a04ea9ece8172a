"""Blobs: whole under their names or not there, within their bound, the longest unused first to go."""

import asyncio
import hashlib
import os
import shutil
import threading
from pathlib import Path

import pytest

from service.core.errors import StorageFailed, TooLarge
from service.core.owner import SERVICE, Owner
from service.runtime.directories import DirectoryInUse
from service.work.blob_files import Blob, BlobFiles
from service.work.blobs import Blobs


async def save(blobs: Blobs, data: bytes, content_type: str, owner: Owner = SERVICE) -> Blob:
    return await asyncio.to_thread(blobs.save, data, content_type, owner)


def files_in(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*") if path.is_file()} - {"lock"}


async def test_a_body_is_kept_once_under_its_hash(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 1000)
    first, second = await asyncio.gather(save(blobs, b"abc", "image/png"), save(blobs, b"abc", "text/plain"))
    assert first == second
    assert first.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert first.path.read_bytes() == b"abc"
    assert (first.type, first.size) == ("image/png", 3)
    assert len(files_in(tmp_path)) == 1
    assert blobs.statistics().saved == 1
    await blobs.close()


async def test_they_are_found_again_with_their_types_after_a_restart(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 1000)
    svg = await save(blobs, b"<svg/>", "image/svg+xml")
    odd = await save(blobs, b"odd", "text/html; charset=utf-8 \n../../x")
    await blobs.close()
    blobs = await Blobs.open(tmp_path, 1000)
    assert blobs.find(svg.sha256) == svg
    found = blobs.find(odd.sha256)
    assert found is not None
    assert found.type == "application/octet-stream"
    assert blobs.find("0" * 64) is None
    await blobs.close()


async def test_the_longest_unused_ones_give_way(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 10)
    one, two, three = [await save(blobs, text * 3, "text/plain") for text in (b"1", b"2", b"3")]
    assert blobs.find(one.sha256) is not None
    four = await save(blobs, b"4444", "text/plain")
    assert blobs.find(two.sha256) is None
    assert not two.path.exists()
    assert [blobs.find(blob.sha256) for blob in (one, three, four)] == [one, three, four]
    assert blobs.statistics().size == 10
    assert blobs.statistics().evicted == 1
    await blobs.close()


async def test_who_floods_the_store_pushes_out_its_own(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 100)
    careful, flood = Owner("careful"), Owner("flood")
    mine = [await save(blobs, b"mine %d" % number, "text/plain", careful) for number in range(5)]
    for number in range(50):
        await save(blobs, b"flood %03d" % number, "text/plain", flood)
    assert [blobs.find(blob.sha256) for blob in mine] == mine
    shares, _ = blobs.shares()
    assert (shares.owners, shares.largest, shares.used) == (2, 63, 93)
    await blobs.close()
    blobs = await Blobs.open(tmp_path, 100)
    for number in range(50):
        await save(blobs, b"again %03d" % number, "text/plain", flood)
    assert [blobs.find(blob.sha256) for blob in mine] == mine, "a blob still counts for its owner after a restart"
    assert not any("careful" in name for name in files_in(tmp_path))
    await blobs.close()


async def test_many_tiny_ones_push_out_those_of_their_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.work.blobs._FEWEST", 10)
    blobs = await Blobs.open(tmp_path, 1000)
    careful, flood = Owner("careful"), Owner("flood")
    mine = [await save(blobs, b"mine %d" % number, "text/plain", careful) for number in range(3)]
    for number in range(20):
        await save(blobs, b"%d" % number, "text/plain", flood)
    assert [blobs.find(blob.sha256) for blob in mine] == mine
    _, count = blobs.shares()
    assert (count.bound, count.used, count.largest, count.refused) == (10, 10, 7, 13)
    assert (len(files_in(tmp_path)), blobs.statistics().evicted) == (10, 13)
    await blobs.close()
    monkeypatch.setattr("service.work.blobs._FEWEST", 5)
    blobs = await Blobs.open(tmp_path, 1000)
    assert len(files_in(tmp_path)) == 5
    await blobs.close()
    blobs = await Blobs.open(tmp_path, 100 << 16)
    assert blobs.shares()[1].bound == 100
    await blobs.close()


async def test_files_of_older_versions_are_found_and_count_together(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 20)
    old = [await save(blobs, text * 8, "text/plain", Owner("a")) for text in (b"1", b"2")]
    await blobs.close()
    for blob in old:
        blob.path.rename(blob.path.with_name(blob.path.name.partition("~")[0]))
    blobs = await Blobs.open(tmp_path, 20)
    found = [blobs.find(blob.sha256) for blob in old]
    assert [blob.keeper for blob in found if blob is not None] == ["", ""]
    assert [pool.owners for pool in blobs.shares()] == [1, 1]
    await save(blobs, b"3" * 8, "text/plain", Owner("a"))
    assert [blobs.find(blob.sha256) is not None for blob in old] == [False, True]
    await blobs.close()


async def test_one_whose_file_was_removed_or_cut_is_not_there_and_is_saved_again(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 100)
    for damage in (Path.unlink, lambda path: os.truncate(path, 1)):
        for look_first in (True, False):
            kept = await save(blobs, b"abc", "text/plain")
            damage(kept.path)
            if look_first:
                assert blobs.find(kept.sha256) is None
            again = await save(blobs, b"abc", "text/plain")
            assert again.path.read_bytes() == b"abc"
            assert blobs.find(kept.sha256) == again
            assert (blobs.statistics().size, blobs.statistics().count) == (3, 1)
    await blobs.close()


async def test_the_order_of_use_and_a_smaller_bound_hold_after_a_restart(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 10)
    one = await save(blobs, b"111", "text/plain")
    two = await save(blobs, b"222", "text/plain")
    await blobs.close()
    os.utime(one.path, (2_000_000_000, 1_000_000_000))
    os.utime(two.path, (1_000_000_000, 2_000_000_000))
    blobs = await Blobs.open(tmp_path, 5)
    assert blobs.find(one.sha256) == one
    assert files_in(tmp_path) == {one.path.name}
    await blobs.close()


async def test_use_leaves_the_time_of_change_alone_which_clients_compare(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 10)
    one = await save(blobs, b"111", "text/plain")
    changed = 1_000_000_000_123_456_789
    os.utime(one.path, ns=(changed, changed))
    assert blobs.find(one.sha256) == one
    await blobs.close()
    assert one.path.stat().st_mtime_ns == changed < one.path.stat().st_atime_ns


async def test_a_body_larger_than_the_bound_is_refused(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 2)
    with pytest.raises(TooLarge, match="3 bytes of at most 2"):
        await save(blobs, b"abc", "text/plain")
    await blobs.close()


async def test_what_a_kill_left_half_written_is_removed_and_never_served(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 1000)
    await blobs.close()
    half = hashlib.sha256(b"whole").hexdigest()
    (tmp_path / "new" / half).write_bytes(b"who")
    blobs = await Blobs.open(tmp_path, 1000)
    assert blobs.find(half) is None
    assert files_in(tmp_path) == set()
    await blobs.close()


async def test_a_directory_belongs_to_one_service(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 1000)
    with pytest.raises(DirectoryInUse, match="another service uses this directory"):
        await Blobs.open(tmp_path, 1000)
    await blobs.close()
    await (await Blobs.open(tmp_path, 1000)).close()


async def test_a_disk_that_fails_fails_the_one_blob_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    blobs = await Blobs.open(tmp_path, 1000)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("service.work.blob_files.os.fsync", full)
        for _ in range(3):
            with pytest.raises(StorageFailed, match="No space left"):
                await save(blobs, b"abc", "text/plain")
    assert caplog.messages == ["a blob was not saved"], "one line a minute"
    assert files_in(tmp_path) == set()
    assert blobs.statistics().size == 0
    assert (await save(blobs, b"abc", "text/plain")).path.exists()
    await blobs.close()


def hold(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Hold what is written from now on back; return the event that says so, and the one that has it go on."""
    begun, go_on = threading.Event(), threading.Event()
    sync = os.fsync

    def wait(descriptor: int) -> None:
        begun.set()
        go_on.wait(60)
        sync(descriptor)

    monkeypatch.setattr("service.work.blob_files.os.fsync", wait)
    return begun, go_on


async def test_what_is_being_written_is_written_once_and_others_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = await Blobs.open(tmp_path, 1000)
    begun, go_on = hold(monkeypatch)
    saving = [asyncio.create_task(save(blobs, b"abc", f"a/{number}")) for number in range(3)]
    assert await asyncio.to_thread(begun.wait, 30)
    assert blobs.find(hashlib.sha256(b"abc").hexdigest()) is None
    saving.pop().cancel()
    go_on.set()
    first, second = await asyncio.gather(*saving)
    assert first == second
    assert (first.path.read_bytes(), blobs.statistics().saved) == (b"abc", 1)
    await blobs.close()


async def test_closing_finishes_what_is_being_written_and_begins_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = await Blobs.open(tmp_path, 1000)
    begun, go_on = hold(monkeypatch)
    saving = asyncio.create_task(save(blobs, b"abc", "a/b"))
    assert await asyncio.to_thread(begun.wait, 30)
    closing = asyncio.create_task(blobs.close())
    while not blobs._closed:
        await asyncio.sleep(0)
    with pytest.raises(StorageFailed, match="shutting down"):
        await save(blobs, b"late", "a/b")
    with pytest.raises(DirectoryInUse):
        await Blobs.open(tmp_path, 1000)
    go_on.set()
    await closing
    assert (await saving).path.read_bytes() == b"abc"
    assert len(files_in(tmp_path)) == 1


@pytest.mark.parametrize("folder", ["ba", "new", "*", "."])
async def test_a_directory_that_was_emptied_is_filled_again_and_still_belongs_to_one_service(
    tmp_path: Path, folder: str
) -> None:
    directory = tmp_path / "blobs"
    blobs = await Blobs.open(directory, 1000)
    await save(blobs, b"abc", "a/b")
    for path in list(directory.glob(folder)) if folder != "." else [directory]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    saved = await asyncio.gather(*(save(blobs, data, "a/b") for data in (b"abc", b"def", b"ghi")))
    assert [blob.path.read_bytes() for blob in saved] == [b"abc", b"def", b"ghi"]
    with pytest.raises(DirectoryInUse):
        await Blobs.open(directory, 1000)
    await blobs.close()
    again = await Blobs.open(directory, 1000)
    assert again.statistics().count == 3
    await again.close()


async def test_a_directory_that_another_service_has_taken_meanwhile_is_left_to_it(tmp_path: Path) -> None:
    directory = tmp_path / "blobs"
    blobs = await Blobs.open(directory, 1000)
    shutil.rmtree(directory)
    other = await Blobs.open(directory, 1000)
    with pytest.raises(StorageFailed, match="another service uses this directory"):
        await save(blobs, b"abc", "a/b")
    assert (await save(other, b"abc", "a/b")).path.exists()
    await blobs.close()
    await other.close()


async def test_a_bug_in_writing_costs_one_body(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(*_: object) -> None:
        raise RuntimeError("made to raise")

    blobs = await Blobs.open(tmp_path, 1000)
    with monkeypatch.context() as patched:
        patched.setattr(BlobFiles, "write", odd)
        with pytest.raises(RuntimeError, match="made to raise"):
            await save(blobs, b"abc", "a/b")
    assert (await save(blobs, b"abc", "a/b")).size == 3
    await blobs.close()


def test_foreign_files_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "notes.txt").write_text("mine")
    (tmp_path / "readme").write_text("mine")
    (tmp_path / "me").write_text("mine")
    (tmp_path / "new" / "folder").mkdir(parents=True)
    files = BlobFiles(tmp_path)
    assert files.scan() == []
    files.close()
    assert files_in(tmp_path) == {"notes.txt", "readme", "me"}
    assert (tmp_path / "new" / "folder").exists()
