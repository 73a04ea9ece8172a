"""Blobs: whole under their names or not there, within their bound, the longest unused first to go."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from service.core.errors import StorageFailed, TooLarge
from service.runtime.directories import DirectoryInUse
from service.work.blob_files import BlobFiles
from service.work.blobs import Blobs


def files_in(directory: Path) -> set[str]:
    return {path.name for path in directory.rglob("*") if path.is_file()} - {"lock"}


async def test_a_body_is_kept_once_under_its_hash(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 1000)
    first, second = await asyncio.gather(blobs.save(b"abc", "image/png"), blobs.save(b"abc", "text/plain"))
    assert first == second
    assert first.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert first.path.read_bytes() == b"abc"
    assert (first.type, first.size) == ("image/png", 3)
    assert len(files_in(tmp_path)) == 1
    assert blobs.statistics().saved == 1
    await blobs.close()


async def test_they_are_found_again_with_their_types_after_a_restart(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 1000)
    svg = await blobs.save(b"<svg/>", "image/svg+xml")
    odd = await blobs.save(b"odd", "text/html; charset=utf-8 \n../../x")
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
    one, two, three = [await blobs.save(text * 3, "text/plain") for text in (b"1", b"2", b"3")]
    assert blobs.find(one.sha256) is not None
    four = await blobs.save(b"4444", "text/plain")
    assert blobs.find(two.sha256) is None
    assert not two.path.exists()
    assert [blobs.find(blob.sha256) for blob in (one, three, four)] == [one, three, four]
    assert blobs.statistics().size == 10
    assert blobs.statistics().evicted == 1
    await blobs.close()


async def test_the_order_of_use_and_a_smaller_bound_hold_after_a_restart(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 10)
    one = await blobs.save(b"111", "text/plain")
    two = await blobs.save(b"222", "text/plain")
    await blobs.close()
    os.utime(one.path, (2_000_000_000, 2_000_000_000))
    os.utime(two.path, (1_000_000_000, 1_000_000_000))
    blobs = await Blobs.open(tmp_path, 5)
    assert blobs.find(one.sha256) == one
    assert files_in(tmp_path) == {one.path.name}
    await blobs.close()


async def test_a_body_larger_than_the_bound_is_refused(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 2)
    with pytest.raises(TooLarge, match="3 bytes of at most 2"):
        await blobs.save(b"abc", "text/plain")
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = await Blobs.open(tmp_path, 1000)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("service.work.blob_files.os.fsync", full)
        with pytest.raises(StorageFailed, match="No space left"):
            await blobs.save(b"abc", "text/plain")
    assert files_in(tmp_path) == set()
    assert blobs.statistics().size == 0
    assert (await blobs.save(b"abc", "text/plain")).path.exists()
    await blobs.close()


async def test_one_that_gives_up_waiting_does_not_take_the_file_from_others(tmp_path: Path) -> None:
    blobs = await Blobs.open(tmp_path, 1000)
    first = asyncio.create_task(blobs.save(b"abc", "text/plain"))
    second = asyncio.create_task(blobs.save(b"abc", "text/plain"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).path.read_bytes() == b"abc"
    await blobs.close()


def test_foreign_files_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "notes.txt").write_text("mine")
    (tmp_path / "readme").write_text("mine")
    files = BlobFiles(tmp_path)
    assert files.scan() == []
    files.close()
    assert files_in(tmp_path) == {"notes.txt", "readme"}
