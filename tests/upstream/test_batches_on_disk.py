"""Batches over a kill: each URL has one event, events that were sent keep their offsets, and what was accepted goes on."""

import asyncio
from typing import Any

import orjson
import pytest

from service.core.access.grants import HostPatterns
from service.core.errors import InvalidParams, NotFound, StorageFailed
from service.core.fetching.batch import Batch, IdempotencyKey, Keep, KeyScope
from service.core.fetching.outcome import Failure, Fetched
from service.core.fetching.request import FetchRequest
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.topics.position import Position
from service.storage.commit_count import pack_count
from service.storage.database import RowChanges
from service.storage.errors import CommitFailed
from service.storage.records import read_outcome, write_outcome
from service.storage.tables import Table
from service.upstream.attempts import FetchAttempt
from tests.upstream.batch_disk import BatchDisk, Running, events, url


async def at_once(order: FetchAttempt) -> Fetched:
    await asyncio.sleep(0.01)
    return Fetched(200, order.target, {"content-type": "text/plain"}, order.target.url.encode(), truncated=False)


async def never(order: FetchAttempt) -> Fetched:
    await asyncio.Event().wait()
    raise AssertionError


class Half:
    """Answers some, and none of the others."""

    def __init__(self, count: int, size: int = 10) -> None:
        self.left = count
        self.body = b"b" * size

    async def __call__(self, order: FetchAttempt) -> Fetched | Failure:
        await asyncio.sleep(0.01)
        self.left -= 1
        if self.left < 0:
            await asyncio.Event().wait()
        if self.left % 5 == 4:
            return Failure("dns", "no such host")
        return Fetched(200, order.target, {"content-type": "text/plain"}, self.body, truncated=False)


def exact(sent: list[dict[str, Any]], total: int) -> None:
    """Check that each URL has one event, and that the last one counts them."""
    *before, last = sent
    assert sorted(event["index"] for event in before) == list(range(total))
    assert last["event"] == "done"
    assert (last["total"], last["ok"] + last["failed"]) == (total, total)
    assert last["ok"] == sum(event["event"] == "result" for event in before)


def key_of(body: bytes = b"digest") -> IdempotencyKey:
    return IdempotencyKey(Owner("o"), KeyScope(HostPatterns("fetch", endings=("",)), b"s"), "k", body)


async def settled(disk: BatchDisk, life: Running) -> None:
    """Wait until nothing more happens for a while."""
    await asyncio.sleep(1)
    assert "idle" in repr(life.storage.writer)


async def test_a_batch_is_accepted_when_it_is_stored(disk: BatchDisk) -> None:
    life = await disk.open(at_once)
    batch = life.start()
    assert isinstance(batch.accepted, Pending)
    with pytest.raises(NotFound):
        life.batches.find(batch.id)
    accepted: list[object] = []
    batch.accepted.on_settled(accepted.append)
    assert not accepted
    await asyncio.sleep(0.005)
    assert accepted == [batch]
    assert life.batches.find(batch.id) is batch
    disk.kill()
    again = await disk.open(at_once)
    exact(await again.all_of(batch.id), 10)


async def test_a_large_body_is_the_same_before_and_after_a_kill(disk: BatchDisk) -> None:
    text = "gr\u00fc\u00df dich, " * 50_000

    async def answer(order: FetchAttempt) -> Fetched:
        return Fetched(200, order.target, {"content-type": "text/plain"}, text.encode(), truncated=False)

    life = await disk.open(answer)
    batch = life.start(2)
    before = await whole(life, batch)
    disk.kill()
    again = await disk.open(never)
    assert await again.all_of(batch.id) == before
    assert [event["body"] == text for event in before[:-1]] == [True, True]


async def test_a_batch_that_was_not_stored_does_not_begin(disk: BatchDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    life = await disk.open(at_once)
    with monkeypatch.context() as failing:
        failing.setattr(life.storage._database, "write", full)
        batch = life.start(key=key_of())
        refused: list[object] = []
        assert batch.accepted is not None
        batch.accepted.on_settled(refused.append)
        await asyncio.sleep(0.005)
    assert isinstance(refused[0], StorageFailed)
    assert (life.batches.lifecycle.pool.used, life.batches.lifecycle.queued.used) == (0, 0)
    assert (life.batches.lifecycle.keys, life.hub.topics, life.hub.owners.used) == ({}, {}, 0)
    await asyncio.sleep(2)
    assert life.asked == []
    again = life.start(key=key_of())
    exact(await whole(life, again), 10)


def full(changes: object) -> None:
    raise CommitFailed("the disk is full")


async def whole(life: Running, batch: Batch) -> list[dict[str, Any]]:
    await asyncio.sleep(0.005)
    return await life.all_of(batch.id)


@pytest.mark.parametrize("answered", [0, 1, 7, 19, 20])
async def test_a_batch_goes_on_after_a_kill_where_it_was(disk: BatchDisk, answered: int) -> None:
    life = await disk.open(Half(answered))
    batch = life.start(20, retries=0)
    await settled(disk, life)
    reader = life.read(batch.id)
    await asyncio.sleep(0.01)
    before = events(reader)
    assert len([event for event in before if event["event"] != "done"]) == answered
    disk.kill()
    again = await disk.open(at_once)
    after = await again.all_of(batch.id)
    assert after[: len(before)] == before
    exact(after, 20)
    assert again.batches.find(batch.id).topic.epoch == batch.topic.epoch
    assert sorted(again.asked) == sorted(
        url(index) for index in set(range(20)) - {event["index"] for event in before if "index" in event}
    )


async def test_a_reader_that_comes_back_with_its_position_goes_on_there(disk: BatchDisk) -> None:
    life = await disk.open(Half(7))
    batch = life.start(20)
    await settled(disk, life)
    disk.kill()
    again = await disk.open(at_once)
    reader = again.read(batch.id, Position(batch.topic.epoch, 5))
    assert again.batches.find(batch.id).topic.start(Position(batch.topic.epoch, 5)).recovered
    await asyncio.sleep(5)
    assert len(reader.lines) == 21 - 5
    assert reader.complete


async def test_a_finished_batch_is_read_until_its_time_is_over(disk: BatchDisk) -> None:
    life = await disk.open(at_once)
    batch = life.start(5)
    first = await whole(life, batch)
    await asyncio.sleep(400)
    disk.kill()
    again = await disk.open(at_once)
    assert await again.all_of(batch.id) == first
    document, before = (orjson.loads(one.batches.document(one.batches.find(batch.id))) for one in (again, life))
    # Where the time went is not kept.
    assert document == {**before, "time_ms": dict.fromkeys(before["time_ms"], 0.0)}
    assert again.asked == []
    assert (again.batches.lifecycle.pool.used, again.batches.lifecycle.queued.used) == (0, 0)


async def test_rows_of_a_batch_go_when_its_time_is_over(disk: BatchDisk) -> None:
    life = await disk.open(at_once)
    batch = life.start(50)
    await whole(life, batch)
    await asyncio.sleep(601)
    with pytest.raises(NotFound):
        life.batches.find(batch.id)
    life.hub.sweep(0.0)
    await settled(disk, life)
    assert rows(life) == {}


def rows(life: Running) -> dict[str, int]:
    """Return how many rows the tables of batches have."""
    tables = (Table.BATCHES, Table.REQUESTS, Table.EVENTS, Table.OUTCOMES)
    counts = {table.value: len(life.storage._database.rows.read(table)) for table in tables}
    return {name: count for name, count in counts.items() if count}


async def test_what_a_kill_left_half_deleted_goes_at_the_next_start(disk: BatchDisk) -> None:
    life = await disk.open(at_once)
    batch = life.start(50)
    await whole(life, batch)
    life.storage._database._connection.execute("DELETE FROM batches")
    disk.kill()
    again = await disk.open(at_once)
    with pytest.raises(NotFound):
        again.batches.find(batch.id)
    again.hub.sweep(0.0)
    await settled(disk, again)
    assert rows(again) == {}


async def test_a_key_finds_its_batch_after_a_kill(disk: BatchDisk) -> None:
    life = await disk.open(Half(3))
    batch = life.start(10, key=key_of())
    await settled(disk, life)
    disk.kill()
    again = await disk.open(at_once)
    assert again.start(10, key=key_of()).id == batch.id
    with pytest.raises(InvalidParams):
        again.start(11, key=key_of(b"another"))
    exact(await again.all_of(batch.id), 10)
    disk.kill()
    third = await disk.open(at_once)
    assert third.start(10, key=key_of()).id == batch.id


async def test_a_cancelled_batch_stays_cancelled(disk: BatchDisk) -> None:
    life = await disk.open(Half(3))
    batch = life.start(2000)
    await settled(disk, life)
    answers: list[object] = []
    left = life.batches.cancel(batch.id)
    assert isinstance(left, Pending)
    left.on_settled(answers.append)
    while not answers:
        await asyncio.sleep(0)
    assert answers == [1997]
    disk.kill()
    again = await disk.open(at_once)
    after = await again.all_of(batch.id)
    exact(after, 2000)
    assert sum(event.get("error") == "cancelled" for event in after) == 1997
    assert again.asked == []


async def test_a_cancel_that_cannot_be_stored_is_refused(disk: BatchDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    life = await disk.open(Half(3))
    batch = life.start()
    await settled(disk, life)
    with monkeypatch.context() as failing:
        failing.setattr(life.storage._database, "write", full)
        left = life.batches.cancel(batch.id)
        assert isinstance(left, Pending)
        answers: list[object] = []
        left.on_settled(answers.append)
        await asyncio.sleep(0.005)
    assert isinstance(answers[0], StorageFailed)
    assert not batch.cancelled


@pytest.mark.parametrize("keep", [Keep.ATTACHED, Keep.LINGER])
async def test_a_batch_that_nobody_comes_back_for_is_cancelled_after_a_minute(disk: BatchDisk, keep: Keep) -> None:
    life = await disk.open(Half(3))
    batch = life.start(20, keep=keep, timeout=300)
    await settled(disk, life)
    disk.kill()
    again = await disk.open(never)
    await asyncio.sleep(59)
    assert not again.batches.find(batch.id).cancelled
    await asyncio.sleep(2)
    after = await again.all_of(batch.id)
    exact(after, 20)
    assert sum(event.get("error") == "cancelled" for event in after) == 17


async def test_a_plain_post_whose_reader_comes_back_goes_on(disk: BatchDisk) -> None:
    life = await disk.open(Half(3))
    batch = life.start(20, keep=Keep.ATTACHED)
    await settled(disk, life)
    disk.kill()
    again = await disk.open(at_once)
    exact(await again.all_of(batch.id), 20)
    assert len(again.asked) == 17


async def test_what_was_asked_is_what_it_was(disk: BatchDisk) -> None:
    life = await disk.open(never)
    requests = [
        FetchRequest(url(n), method="HEAD" if n else None, headers={"x-n": str(n)}, body=None) for n in range(3000)
    ]
    hosts = HostPatterns("fetch", ("h1.example",), (".example",))
    batch = life.start(requests=requests, max_bytes=77, headers={"a": "é"}, owner="sub ü")
    batch.hosts = hosts
    await settled(disk, life)
    disk.kill()
    again = await disk.open(never)
    restored = again.batches.find(batch.id)
    assert restored.items == requests
    assert (restored.options, restored.owner) == (batch.options, batch.owner)
    assert again.batches.lifecycle.queued.held(Owner("sub ü")) == life.batches.lifecycle.queued.held(Owner("sub ü"))


async def test_a_full_disk_pauses_a_batch_that_goes_on_when_there_is_room(
    disk: BatchDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await disk.open(at_once)
    batch = life.start(200, concurrency=5)
    await asyncio.sleep(0.05)
    reader = life.read(batch.id)
    with monkeypatch.context() as failing:
        failing.setattr(life.storage._database, "write", full)
        await asyncio.sleep(20)
        assert 0 < len(reader.lines) < 200
        assert not batch.topic.final
        assert life.storage.failing == "storage"
    await asyncio.sleep(20)
    assert life.storage.failing == ""
    exact(events(reader), 200)
    assert len(life.asked) == 200, "nothing is fetched twice"
    disk.kill()
    again = await disk.open(at_once)
    exact(await again.all_of(batch.id), 200)


async def test_publishes_are_stored_while_events_of_batches_cannot_be(
    disk: BatchDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await disk.open(at_once)
    batch = life.start(50)
    write = life.storage._database.write

    def no_events(changes: Any) -> None:
        large = any(len(record) > 1000 for _, record in changes.put.get(Table.STATE, ()))
        if changes.put.get(Table.EVENTS) or large:  # and what tries whether there is room
            full(changes)
        write(changes)

    with monkeypatch.context() as failing:
        failing.setattr(life.storage._database, "write", no_events)
        await asyncio.sleep(10)
        for number in range(20):
            answers: list[object] = []
            position = life.hub.publish("t", b"%d" % number, 0.0, owner=Owner("p"))
            assert isinstance(position, Pending)
            position.on_settled(answers.append)
            await asyncio.sleep(0.01)
            assert isinstance(answers[0], Position), "a probe for events does not hold it up"
        assert batch.topic.head == 0
        assert life.storage.failing == "storage"
    exact(await life.all_of(batch.id), 50)


def spoil(life: Running, table: str, row: int, bits: int = 0x11) -> None:
    """Flip bits of a record; usually two, so that nobody can say any more which."""
    connection = life.storage._database._connection
    record = bytearray(connection.execute(f"SELECT record FROM {table} WHERE id = ?", (row,)).get)
    record[-3] ^= bits
    connection.execute(f"UPDATE {table} SET record = ? WHERE id = ?", (bytes(record), row))


async def test_a_damaged_event_is_a_gap_and_is_not_fetched_again(disk: BatchDisk) -> None:
    life = await disk.open(Half(6))
    batch = life.start(10, retries=0)
    await settled(disk, life)
    spoil(life, "events", 2)
    disk.kill()
    again = await disk.open(at_once)
    after = await again.all_of(batch.id)
    assert after[1] == {"event": "gap", "from": 2, "to": 2}
    assert len(after) == 11
    assert after[-1]["ok"] + after[-1]["failed"] == 10
    assert len(again.asked) == 4
    assert again.storage.batches.damaged >= 1


@pytest.mark.parametrize("table", ["batches", "requests", "outcomes"])
async def test_a_row_of_a_batch_with_a_flipped_bit_is_reported_and_repaired(
    disk: BatchDisk, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    life = await disk.open(Half(6))
    batch = life.start(10, retries=0)
    await settled(disk, life)
    before = await taken(life, batch)
    spoil(life, table, 1, 0x10)
    disk.kill()
    again = await disk.open(at_once)
    assert [record.__dict__["table"] for record in caplog.records if "passed over" in record.getMessage()] == [
        table
    ]
    after = await again.all_of(batch.id)
    exact(after, 10)
    assert after[:6] == before
    assert all(event["event"] == "result" for event in after[6:-1]), "each URL is what it was"
    assert len(again.asked) == 4
    assert again.batches.find(batch.id).topic.epoch == batch.topic.epoch
    disk.kill()
    assert (await disk.open(at_once)).storage.recovered.damaged == 0


async def taken(life: Running, batch: Batch) -> list[dict[str, Any]]:
    """Return the events that a batch has by now."""
    reader = life.read(batch.id)
    await asyncio.sleep(0.01)
    reader.detach()
    return events(reader)


async def test_an_outcome_whose_id_has_a_flipped_bit_fills_the_place_that_it_left(disk: BatchDisk) -> None:
    life = await disk.open(Half(6))
    batch = life.start(10, retries=0)
    await settled(disk, life)
    before = await taken(life, batch)
    life.storage._database._connection.execute("UPDATE outcomes SET id = id + 64 WHERE id = 3")
    disk.kill()
    again = await disk.open(at_once)
    after = await again.all_of(batch.id)
    exact(after, 10)
    assert after[:6] == before
    assert (len(again.asked), again.storage.recovered.damaged) == (4, 1)
    assert again.batches.find(batch.id).topic.epoch == batch.topic.epoch
    disk.kill()
    assert (await disk.open(at_once)).storage.recovered.damaged == 0


async def test_an_outcome_that_is_there_twice_is_taken_once(disk: BatchDisk) -> None:
    life = await disk.open(Half(6))
    batch = life.start(10, retries=0)
    await settled(disk, life)
    database = life.storage._database
    changes = RowChanges(database.next_row)
    outcome = read_outcome(3, database.rows.get(Table.OUTCOMES, 3) or b"")
    changes.replace(Table.OUTCOMES, 7, write_outcome(7, outcome))
    database.write(changes)
    disk.kill()
    again = await disk.open(at_once)
    exact(await again.all_of(batch.id), 10)
    assert again.storage.recovered.damaged == 1


async def test_a_damaged_outcome_is_made_again_from_its_event(disk: BatchDisk) -> None:
    life = await disk.open(Half(6))
    batch = life.start(10, retries=0)
    await settled(disk, life)
    for row in (2, 6):
        spoil(life, "outcomes", row)
    disk.kill()
    again = await disk.open(at_once)
    after = await again.all_of(batch.id)
    exact(after, 10)
    assert len(again.asked) == 4
    assert again.batches.find(batch.id).topic.epoch == batch.topic.epoch
    assert again.storage.recovered.damaged == 2


@pytest.mark.parametrize(("row", "renewed"), [(2, False), (6, True)])
async def test_an_event_that_is_damaged_with_its_outcome_is_a_gap(disk: BatchDisk, row: int, renewed: bool) -> None:
    life = await disk.open(Half(6))
    batch = life.start(10, retries=0)
    await settled(disk, life)
    spoil(life, "outcomes", row)
    spoil(life, "events", row)
    disk.kill()
    again = await disk.open(at_once)
    after = await again.all_of(batch.id)
    sent = [event for event in after if "index" in event]
    assert sorted(event["index"] for event in sent) == list(range(10))
    assert (again.batches.find(batch.id).topic.epoch != batch.topic.epoch) is renewed
    assert sum(event["event"] == "gap" for event in after) == (0 if renewed else 1)
    assert len(again.asked) == 5, "its URL is fetched again"


async def test_a_damaged_batch_is_gone_and_hurts_no_other(disk: BatchDisk) -> None:
    life = await disk.open(Half(6))
    batches = [life.start(10, retries=0, owner=owner) for owner in "ab"]
    await settled(disk, life)
    spoil(life, "batches", 1)
    disk.kill()
    again = await disk.open(at_once)
    with pytest.raises(NotFound):
        again.batches.find(batches[0].id)
    exact(await again.all_of(batches[1].id), 10)
    again.hub.sweep(0.0)
    await settled(disk, again)
    disk.kill()
    assert (await disk.open(at_once)).storage.recovered.damaged == 0


async def test_urls_that_are_damaged_fail_and_say_so(disk: BatchDisk) -> None:
    life = await disk.open(Half(6))
    batch = life.start(10, retries=0)
    await settled(disk, life)
    spoil(life, "requests", 1)
    disk.kill()
    again = await disk.open(at_once)
    after = await again.all_of(batch.id)
    exact(after, 10)
    assert sum(event.get("detail") == "it was damaged on disk" for event in after) == 4


async def test_all_batches_have_new_epochs_when_the_last_commits_are_lost(
    disk: BatchDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await disk.open(Half(6))
    batch = life.start(10, retries=0)
    await settled(disk, life)
    (disk.path / "commits").unlink()
    disk.kill()
    (disk.path / "commits").write_bytes(pack_count(1000))
    again = await disk.open(at_once)
    assert again.batches.find(batch.id).topic.epoch != batch.topic.epoch
    exact(await again.all_of(batch.id), 10)
    disk.kill()
    third = await disk.open(at_once)
    assert third.batches.find(batch.id).topic.epoch == again.batches.find(batch.id).topic.epoch


async def test_a_batch_larger_than_its_memory_spills_and_every_reader_gets_all(disk: BatchDisk) -> None:
    life = await disk.open(Half(1000, 10_000), retained_bytes=300_000)
    batch = life.start(200, retries=0)
    await asyncio.sleep(30)
    assert batch.done, "nobody reads it, and it does not wait"
    assert batch.topic.size < 300_000
    assert life.batches.statistics().spilled > 100
    assert life.batches.statistics().outgrown == 0
    early, late = life.read(batch.id), life.read(batch.id, Position(batch.topic.epoch, 117))
    await asyncio.sleep(5)
    exact(events(early), 200)
    assert events(late) == events(early)[117:]
    assert early.complete
    assert late.complete
    assert not any(event["event"] == "failed" and event["error"] == "too_large" for event in events(early))


async def test_finished_batches_leave_memory_and_are_not_dropped(disk: BatchDisk) -> None:
    life = await disk.open(Half(10_000, 10_000), retained_bytes=300_000)
    batches = [life.start(20, retries=0, owner=f"o{number}") for number in range(20)]
    await asyncio.sleep(60)
    assert life.hub.log_bytes <= 300_000
    for batch in batches:
        exact(await life.all_of(batch.id), 20)
    assert life.hub.log_bytes == sum(batch.topic.size for batch in batches)
    await asyncio.sleep(601)
    assert life.hub.log_bytes == 0
    assert life.hub.pages.size == 0


async def test_a_page_that_cannot_be_read_ends_its_readers_alone(
    disk: BatchDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await disk.open(Half(1000, 1000))
    batch = life.start(20, retries=0)
    await whole(life, batch)
    life.hub.spill(batch.topic, 5_000)
    with monkeypatch.context() as failing:

        def raising(*_: object) -> None:
            raise StorageFailed("unreadable")

        failing.setattr(life.storage.batches._rows, "some", raising)
        far, near = life.read(batch.id), life.read(batch.id, Position(batch.topic.epoch, 19))
        await asyncio.sleep(0.1)
    assert (far.evicted, near.evicted) == (True, False)
    exact(await life.all_of(batch.id), 20)


async def test_memory_is_charged_again_and_nothing_accepted_is_refused(disk: BatchDisk) -> None:
    life = await disk.open(Half(0))
    for _ in range(5):
        life.start(20)
    await settled(disk, life)
    disk.kill()
    again = await disk.open(at_once, batches=2, queued_bytes=10)
    assert again.batches.running == 5
    assert again.batches.lifecycle.pool.used == 5
    await asyncio.sleep(60)
    assert again.batches.running == 0
    assert (again.batches.lifecycle.pool.used, again.batches.lifecycle.queued.used) == (0, 0)


async def test_an_orderly_end_leaves_batches_to_the_next_start(disk: BatchDisk) -> None:
    life = await disk.open(Half(0))
    kept, plain = life.start(10, retries=0), life.start(10, keep=Keep.ATTACHED, owner="p")
    await settled(disk, life)
    life.batches.cancel_all()
    await life.close()
    disk.lives.remove(life)
    again = await disk.open(at_once)
    exact(await again.all_of(kept.id), 10)
    after = await again.all_of(plain.id)
    assert sum(event.get("error") == "cancelled" for event in after) == 10
