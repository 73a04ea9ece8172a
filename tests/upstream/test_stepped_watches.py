"""Watches with steps: carried out on each new state, once; what fails is an error of that watch until it changes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.core.errors import InvalidParams
from service.core.owner import Owner
from service.sources.watches import WatchLimits
from service.work.opening import import_steps
from tests.core.readers import FakeReader
from tests.upstream.test_stepping import COUNT, DIGEST, FakeSteps
from tests.upstream.test_watches import URL, Page, Watched, names, reported

import_steps()
OWNER = Owner("o")


@asynccontextmanager
async def stepped(page: Page) -> AsyncIterator[tuple[Watched, FakeSteps]]:
    steps = FakeSteps()
    bench = Watched(page, WatchLimits(), steps=steps)
    try:
        yield bench, steps
    finally:
        await bench.watches.close()
        await bench.close()


def watch(bench: Watched, steps: Any, select: str | None = None) -> FakeReader:
    watching = bench.watches.watch(URL, 1.0, select, owner=OWNER, steps=steps)
    reader = FakeReader(watching.topic)
    bench.hub.attach(reader, watching.since)
    return reader


async def test_each_new_state_carries_its_steps_which_are_carried_out_once() -> None:
    page = Page()
    async with stepped(page) as (bench, steps):
        reader = watch(bench, DIGEST)
        await asyncio.sleep(5)
        page.body = b"two"
        await asyncio.sleep(5)
        assert names(reader) == ["state", "changed"]
        assert [event["steps"] for event in reported(reader)] == [[{"step": "digest"}]] * 2
        assert [body.data for body in steps.bodies] == [b"one", b"two"]
        assert steps.owners == [OWNER, OWNER]


async def test_watches_with_other_steps_or_without_have_topics_of_their_own_and_share_the_poll() -> None:
    page = Page()
    async with stepped(page) as (bench, _):
        readers = [watch(bench, steps) for steps in (None, DIGEST, COUNT, DIGEST)]
        await asyncio.sleep(0.5)
        assert len({reader.topic.name for reader in readers}) == 3
        assert readers[1].topic is readers[3].topic
        assert ["steps" in reported(reader)[0] for reader in readers] == [False, True, True, True]
        assert len(page.orders) == 1


async def test_a_step_that_fails_is_an_error_until_the_state_changes_and_is_not_tried_again() -> None:
    page = Page(b"bad")
    page.headers = {"cache-control": "no-store"}
    async with stepped(page) as (bench, steps):
        reader, other = watch(bench, DIGEST), watch(bench, None)
        await asyncio.sleep(10)
        assert names(reader) == ["error"]
        assert (reported(reader)[0]["error"], reported(reader)[0]["detail"]) == ("step_failed", "links: not a page")
        assert names(other) == ["state"]
        assert len(steps.bodies) == 1
        page.body = b"good"
        await asyncio.sleep(5)
        assert names(reader) == ["error", "recovered", "state"]
        assert names(other) == ["state", "changed"]


async def test_a_disk_that_is_full_is_an_error_that_the_next_poll_tries_again() -> None:
    async with stepped(Page(b"full")) as (bench, steps):
        reader = watch(bench, DIGEST)
        await asyncio.sleep(4.5)
        assert [(event["event"], event["error"]) for event in reported(reader)] == [("error", "storage")]
        assert len(steps.bodies) > 1


async def test_a_bug_in_a_step_hurts_its_own_watch_alone() -> None:
    page = Page(b"bug")
    async with stepped(page) as (bench, _):
        reader, other = watch(bench, DIGEST), watch(bench, None)
        await asyncio.sleep(3)
        assert names(other) == ["state"]
        assert reported(reader)[0]["event"] == "error"


@pytest.mark.parametrize("status", [206, 404])
async def test_another_status_has_no_steps(status: int) -> None:
    page = Page()
    page.status = status
    async with stepped(page) as (bench, steps):
        reader = watch(bench, DIGEST)
        await asyncio.sleep(3)
        assert not steps.bodies
        assert all("steps" not in event for event in reported(reader))


async def test_steps_get_the_whole_body_where_a_part_is_selected() -> None:
    page = Page(b"<p>one</p><i>x</i>")
    page.headers = {"content-type": "text/html"}
    async with stepped(page) as (bench, steps):
        reader = watch(bench, DIGEST, "p")
        await asyncio.sleep(3)
        assert (reported(reader)[0]["body"], steps.bodies[0].data) == ("one", page.body)


@pytest.mark.parametrize("steps", [[], [{"step": "no"}], [{"step": "save"}]])
async def test_steps_that_do_not_fit_are_refused(steps: Any) -> None:
    async with stepped(Page()) as (bench, _):
        with pytest.raises(InvalidParams, match="^steps"):
            watch(bench, steps)
        assert not list(bench.watches.watched())
