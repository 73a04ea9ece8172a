"""Errors that reach no caller: each is reported once, and a cancellation never."""

import asyncio
from typing import Any

import pytest

from service.runtime.containment import contain, end_task, report_failure


@pytest.fixture
async def errors() -> list[tuple[str, str]]:
    """The errors that the loop's handler gets."""
    found: list[tuple[str, str]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: found.append((context["message"], repr(context["exception"])))
    )
    return found


async def fail() -> None:
    raise ValueError("odd")


async def wait() -> None:
    await asyncio.get_running_loop().create_future()


async def fail_when_cancelled() -> None:
    try:
        await wait()
    finally:
        raise ValueError("odd")


def test_an_action_that_raises_says_so() -> None:
    assert contain("an item failed", lambda: None)


async def test_the_failure_of_a_task_is_reported_and_neither_its_result_nor_its_end(errors: Any) -> None:
    tasks = [asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(fail()), asyncio.create_task(wait())]
    await asyncio.sleep(1)
    tasks[2].cancel()
    await asyncio.wait(tasks)
    assert [report_failure("an item failed", task) for task in tasks] == [False, True, False]
    assert errors == [("an item failed", "ValueError('odd')")]


@pytest.mark.parametrize("work", [fail, fail_when_cancelled])
async def test_a_task_that_is_ended_may_have_failed_before_or_fail_then(errors: Any, work: Any) -> None:
    task = asyncio.create_task(work())
    await asyncio.sleep(1)
    await end_task("an item failed", task)
    assert errors == [("an item failed", "ValueError('odd')")]


async def test_a_task_that_only_waits_ends_without_a_report(errors: Any) -> None:
    task = asyncio.create_task(wait())
    await asyncio.sleep(1)
    await end_task("an item failed", task)
    assert task.cancelled()
    assert errors == []
