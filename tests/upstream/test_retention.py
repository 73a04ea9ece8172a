"""Batches that are larger than the memory for batches: they end, lose nothing in silence, and hurt nobody else."""

import asyncio
from dataclasses import replace
from typing import Any

import orjson
import pytest

from service.core.errors import NotFound
from service.core.fetching.batch import Batch, Keep
from service.core.fetching.outcome import Failure, Fetched
from service.core.owner import Owner
from service.core.topics.topic import OnLag
from service.sources.charged_batches import PATIENCE, ChargedBatches
from service.upstream.attempts import FetchAttempt
from tests.core.readers import FakeReader
from tests.upstream.test_batches import LIMITS, Bench, at_once, events, never

BOUND = 1 << 20
SMALL = replace(LIMITS, retained_bytes=BOUND, credit=BOUND // 16)


async def large(attempt: FetchAttempt) -> Fetched:
    await asyncio.sleep(0.01)
    return Fetched(200, attempt.target, {}, b"x" * 10_000, truncated=False)


class Slow(FakeReader):
    """Takes one chunk each time that it is asked to, and nothing when it is visited."""

    def visit(self) -> None:
        if self.overtaken:
            self.read()

    def step(self) -> None:
        if self.behind:
            self.sent.append(self.read())


def read(bench: Bench, batch: Batch, kind: type[FakeReader], on_lag: OnLag = OnLag.DISCONNECT) -> Any:
    reader = kind(batch.topic, on_lag)
    bench.hub.attach(reader, "oldest")
    return reader


def offsets(reader: FakeReader) -> list[int]:
    """Return the offset of each event that a reader has had, as one counts who reads NDJSON."""
    found, at = [], 0
    for event in events(reader):
        if event["event"] == "gap":
            at = event["to"]
        else:
            at += 1
            found.append(at)
    return found


@pytest.mark.parametrize("keep", Keep)
async def test_a_batch_of_many_times_the_memory_goes_on_while_it_is_read(keep: Keep) -> None:
    bench = Bench(large, SMALL)
    batch = bench.start(500, keep=keep, concurrency=20)
    reader = bench.read(batch)
    most = 0
    while not batch.done:
        await asyncio.sleep(0.05)
        most = max(most, bench.hub.log_bytes)
    assert offsets(reader) == list(range(1, 502))
    assert events(reader)[-1]["ok"] == 500
    assert most <= BOUND
    late = bench.read(batch)
    await asyncio.sleep(1)
    reported = events(late)
    assert reported[0] == {"event": "gap", "from": 1, "to": 501 - len(reported) + 1}
    assert reported[-1]["event"] == "done"
    assert offsets(late)[-1] == 501


async def test_a_batch_that_fits_keeps_everything() -> None:
    bench = Bench(large, SMALL)
    batch = bench.start(40)
    bench.read(batch)
    await asyncio.sleep(5)
    assert offsets(bench.read(batch)) == []
    late = bench.read(batch)
    await asyncio.sleep(1)
    assert offsets(late) == list(range(1, 42))
    assert bench.batches.statistics().given_up == 0


async def test_a_batch_that_nobody_reads_fails_the_rest_and_says_what_to_do() -> None:
    bench = Bench(large, SMALL)
    batch = bench.start(2000)
    stranger = bench.read(bench.start(5, keep=Keep.ATTACHED, owner="stranger"))
    await asyncio.sleep(2)
    assert events(stranger)[-1]["ok"] == 5
    assert batch.done
    reader = bench.read(batch)
    await asyncio.sleep(1)
    reported = events(reader)
    failures = [event for event in reported if event["event"] == "failed"]
    assert (reported[-1]["ok"] + len(failures), reported[-1]["failed"]) == (2000, len(failures))
    # Half of the memory is one client's share; up to 100 were under way when it was used up.
    assert 50 <= reported[-1]["ok"] <= 50 + 100
    assert {event["error"] for event in failures} == {"too_large"}
    assert "batches_size" in failures[0]["detail"]
    assert "read the batch while it runs" in failures[0]["detail"]
    assert sorted(event["index"] for event in reported[:-1]) == list(range(2000))


async def test_what_was_asked_for_already_is_kept_only_as_far_as_there_is_memory_at_all() -> None:
    bench = Bench(large, replace(SMALL, retained_bytes=100_000))
    batch = bench.start(100)
    await asyncio.sleep(2)
    assert batch.done
    assert bench.hub.log_bytes <= 150_000
    reader = bench.read(batch)
    await asyncio.sleep(1)
    assert events(reader)[-1]["ok"] == 9


async def test_the_slower_of_two_readers_misses_nothing_and_bounds_the_memory() -> None:
    bench = Bench(large, SMALL)
    batch = bench.start(300, concurrency=20)
    quick, slow = bench.read(batch), read(bench, batch, Slow)
    most = 0
    while not slow.complete:
        await asyncio.sleep(5)
        slow.step()
        most = max(most, bench.hub.log_bytes)
    assert offsets(quick) == offsets(slow) == list(range(1, 302))
    assert most <= BOUND


async def test_a_finished_batch_is_not_dropped_under_a_reader_that_is_still_in_it() -> None:
    bench = Bench(large, SMALL)
    batch = bench.start(60)
    bench.read(batch)
    slow = read(bench, batch, Slow)
    await asyncio.sleep(2)
    assert batch.done
    others = [bench.read(bench.start(60, owner=f"o{number}")) for number in range(5)]
    await asyncio.sleep(5)
    assert [events(reader)[-1]["ok"] for reader in others] == [60] * 5
    while slow.behind:
        slow.step()
    assert offsets(slow) == list(range(1, 62))


async def test_a_reader_that_takes_nothing_is_disconnected_and_the_batch_goes_on() -> None:
    bench = Bench(large, SMALL)
    batch = bench.start(300)
    quick, stuck = bench.read(batch), read(bench, batch, Slow)
    await asyncio.sleep(PATIENCE - 1)
    assert not batch.done
    assert not stuck.evicted
    await asyncio.sleep(PATIENCE)
    assert stuck.evicted
    assert events(quick)[-1]["ok"] == 300


@pytest.mark.parametrize("on_lag", [OnLag.DROP_OLDEST, OnLag.LATEST])
async def test_a_reader_that_agreed_to_gaps_gets_one(on_lag: OnLag) -> None:
    bench = Bench(large, SMALL)
    batch = bench.start(300)
    quick, stuck = bench.read(batch), read(bench, batch, Slow, on_lag)
    stuck.step()
    await asyncio.sleep(2 * PATIENCE)
    assert events(quick)[-1]["ok"] == 300
    while stuck.attached:
        stuck.step()
    assert "gap" in {event["event"] for event in events(stuck)}
    assert offsets(stuck)[-1] == 301


async def test_a_batch_waits_for_a_reader_that_comes_back_soon() -> None:
    bench = Bench(large, SMALL)
    batch = bench.start(1000)
    first = bench.read(batch)
    await asyncio.sleep(0.05)
    first.detach()
    assert 0 < batch.ok < 900
    position = batch.topic.position
    await asyncio.sleep(PATIENCE - 5)
    assert not batch.failed
    again = FakeReader(batch.topic)
    assert bench.hub.attach(again, position).recovered
    await asyncio.sleep(5)
    assert events(again)[-1]["ok"] == 1000


async def test_a_batch_whose_reader_does_not_come_back_ends() -> None:
    bench = Bench(large, SMALL)
    batch = bench.start(1000)
    first = bench.read(batch)
    await asyncio.sleep(0.05)
    first.detach()
    assert 0 < batch.ok < 900
    await asyncio.sleep(PATIENCE + 5)
    assert batch.done
    assert batch.failed > 100


async def test_a_lingering_batch_ends_with_its_wait() -> None:
    bench = Bench(large, replace(SMALL, credit=4 * BOUND))
    batch = bench.start(300, keep=Keep.LINGER)
    bench.read(batch).detach()
    await asyncio.sleep(59)
    assert not batch.done
    await asyncio.sleep(2)
    assert batch.done


async def test_the_largest_keeper_of_finished_batches_loses_its_oldest_first() -> None:
    bench = Bench(large, SMALL)
    small = bench.start(5, owner="small")
    await asyncio.sleep(1)
    oldest = bench.start(45, owner="large")
    await asyncio.sleep(1)
    newest = bench.start(45, owner="large")
    await asyncio.sleep(1)
    bench.start(30, owner="another")
    await asyncio.sleep(1)
    assert bench.batches.find(small.id)
    assert bench.batches.find(newest.id)
    with pytest.raises(NotFound):
        bench.batches.find(oldest.id)


async def test_nobody_fails_for_what_another_holds() -> None:
    bench = Bench(large, replace(SMALL, credit=4 * BOUND))
    greedy = bench.start(400, keep=Keep.ATTACHED, owner="greedy", concurrency=200)
    read(bench, greedy, Slow)
    await asyncio.sleep(1)
    assert bench.hub.log_bytes > BOUND, "what was under way has landed"
    modest = bench.start(20, owner="modest")
    await asyncio.sleep(PATIENCE + 2)
    assert (modest.ok, modest.failed) == (20, 0)


async def test_bodies_that_one_client_reads_leave_room_for_those_of_others() -> None:
    bench = Bench(never, replace(LIMITS, reading_bytes=BOUND))
    bench.fetcher.reading.charge(Owner("greedy"), 3 * BOUND)
    held, free = bench.start(3, owner="greedy"), bench.start(3, owner="modest")
    bench.fetcher.answer = at_once
    await asyncio.sleep(1)
    assert (held.ok, free.ok) == (0, 3)
    bench.fetcher.reading.release(Owner("greedy"), 3 * BOUND)
    await asyncio.sleep(1)
    assert held.ok == 3


async def test_the_log_names_the_batch_that_waits_and_the_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    bench = Bench(large, SMALL)
    waits, fails = bench.start(300, keep=Keep.ATTACHED, owner="a"), bench.start(300, owner="b")
    bench.read(waits)
    stuck = read(bench, waits, Slow)
    await asyncio.sleep(2)
    assert bench.batches.shortage == "limit batches_size: 1 batches wait for memory"
    assert fails.done
    reported = {record.message: record.__dict__["batch"] for record in caplog.records}
    assert reported["a batch outgrew its share of memory"] == fails.id
    assert "a batch waits for memory" in reported
    statistics = bench.batches.statistics()
    assert (statistics.waiting, statistics.outgrown) == (1, 1)
    while not waits.done:
        await asyncio.sleep(1)
        stuck.step()
    assert bench.batches.shortage == ""


async def test_a_failure_that_takes_no_memory_is_sent_though_memory_is_full() -> None:
    async def fails(attempt: FetchAttempt) -> Failure:
        return Failure("dns", "no such name")

    bench = Bench(fails, replace(SMALL, retained_bytes=0))
    batch = bench.start(50, retries=0)
    reader = bench.read(batch)
    await asyncio.sleep(PATIENCE + 5)
    assert orjson.loads(reader.lines[-1])["failed"] == 50


async def test_finished_batches_give_their_topics_back_to_a_client_that_begins_another() -> None:
    bench = Bench()
    bench.hub.owners.bound = 20
    for number in range(30):
        batch = bench.start(1, owner="busy")
        while not batch.done:
            await asyncio.sleep(0.1)
        assert bench.batches.find(batch.id) is batch, number
    assert bench.hub.owners.held(Owner("busy")) == 10
    await bench.close()


class Counted(Slow):
    """Counts how often it was looked at."""

    looked = 0

    @property
    def progress(self) -> object:
        self.looked += 1
        return super().progress


async def test_batches_that_wait_in_their_hundreds_are_looked_at_together() -> None:
    bench = Bench(large, SMALL)
    # All are under way before the first has come, so that they take more than their share.
    stuck = read(bench, bench.start(100, keep=Keep.ATTACHED), Counted)
    await asyncio.sleep(1)
    for _ in range(300):
        bench.read(bench.start(1, keep=Keep.ATTACHED))
    await asyncio.sleep(1)
    assert bench.batches.statistics().waiting == 300
    retention = bench.batches.retention
    looked, real = 0, retention._give_up_taken

    def give_up_taken(batch: Batch, wanted: int) -> None:
        nonlocal looked
        looked += 1
        real(batch, wanted)

    retention._give_up_taken = give_up_taken  # type: ignore[method-assign]
    stuck.looked = 0
    await asyncio.sleep(2)
    # Each batch checks itself five times a second, and one of them checks all at most ten times.
    assert 0 < looked <= 2 * 301 * (5 + 10) * 1.2
    assert 0 < stuck.looked <= 3
    await bench.close()


async def test_the_patience_with_a_reader_begins_anew_when_no_batch_has_waited_in_between() -> None:
    bench = Bench(large)
    batch = bench.start(3)
    stuck = read(bench, batch, Slow)
    await asyncio.sleep(1)
    charged = ChargedBatches()
    charged.batches[batch.id] = batch
    charged.begin_wait()
    charged.begin_wait()
    charged.check_readers(0.0)
    charged.end_wait()
    charged.check_readers(PATIENCE - 1)
    assert not stuck.evicted
    charged.end_wait()
    charged.begin_wait()
    charged.check_readers(PATIENCE)
    assert not stuck.evicted
    charged.check_readers(2 * PATIENCE)
    assert stuck.evicted
    await bench.close()


async def test_a_batch_that_nobody_reads_has_what_the_readers_of_another_have_taken() -> None:
    async def last_hangs(attempt: FetchAttempt) -> Fetched:
        return await (never if attempt.target.url.endswith("/44") else large)(attempt)

    bench = Bench(last_hangs, SMALL)
    bench.read(bench.start(45))
    await asyncio.sleep(1)
    assert bench.batches.retention.pool.held(Owner("o")) > 400_000
    unread = bench.start(40, concurrency=2)
    await asyncio.sleep(1)
    assert (unread.ok, unread.failed) == (40, 0)
    await bench.close()
