"""What is done about a bug in one item: it is reported, and its neighbours go on.

Code that works through several items in one turn of the loop (URLs, readers, views, timers) contains the errors
of each: an exception would else cost all that come after it their turn.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

__all__ = ["contain", "end_task", "forget_cancellation", "report", "report_failure"]


def report(what: str, error: BaseException, *, task: str | None = None) -> None:
    """Have the loop's handler log an error with its traceback, and count it.

    ``what`` says which kind of item failed; ``task`` is a name of ``BACKGROUND``, where the error ended a turn of
    that work rather than one item.
    """
    context: dict[str, Any] = {"message": what, "exception": error}
    if task is not None:
        context["background"] = task
    asyncio.get_running_loop().call_exception_handler(context)


def contain(what: str, action: Callable[..., object], *arguments: Any) -> bool:
    """Carry out an action on one of several items; return whether it did not raise."""
    try:
        action(*arguments)
    except Exception as error:
        report(what, error)
        return False
    return True


def report_failure(what: str, task: "asyncio.Task[Any]") -> bool:
    """Report the exception of an ended task that nobody awaits; return whether there was one."""
    if task.cancelled() or (error := task.exception()) is None:
        return False
    report(what, error)
    return True


async def end_task(what: str, task: "asyncio.Task[Any]") -> None:
    """Cancel a task and wait for its end; report what it has raised, now or before."""
    task.cancel()
    await asyncio.wait((task,))
    report_failure(what, task)


def forget_cancellation(task: "asyncio.Task[Any]") -> None:
    """Have a task that was cancelled, and that nobody awaits, forget the error that ended it.

    That has the frames which it passed, and they have the task: only the collector of cycles would free them, and
    what they hold, minutes or hours later.
    """
    with suppress(asyncio.CancelledError):
        task.exception()
