"""Functions in processes of their own: what they return, how they fail, and how they end."""

import asyncio
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from service.core.access.grants import EVERYTHING
from service.core.errors import NotFound
from service.core.jobs.events import ProgressEvent
from service.core.jobs.job import Job
from service.core.jobs.request import RunWork
from service.jobs.executor import AttemptFailed, JobAttempt
from service.jobs.registry import JOBS, job
from service.jobs.slot_process import SlotGone, SlotProcess
from service.jobs.slots import Slots, SlotsUnusable, open_slots
from tests.core.jobs.jobs import new_job

MODULE = "tests.slots.functions"


class Run:
    """One run of a function."""

    def __init__(self, slots: Slots, name: str, args: Any = (), attempt: int = 1) -> None:
        work = msgspec.Raw(msgspec.json.encode({"name": name, "args": args}))
        self.job: Job = new_job(kind="run", work=work, attempt=attempt)
        self.progress: list[ProgressEvent] = []
        self.reported = asyncio.Event()
        self.attempt = JobAttempt(self.job, self.report)
        self.slots = slots

    async def report(self, progress: ProgressEvent) -> None:
        self.progress.append(progress)
        self.reported.set()

    async def result(self) -> Any:
        async with asyncio.timeout(60):
            return msgspec.json.decode(await self.slots.carry_out(self.attempt))

    async def failure(self) -> AttemptFailed:
        with pytest.raises(AttemptFailed) as caught:
            await self.result()
        return caught.value

    async def begun(self) -> asyncio.Task[Any]:
        """Return the task of a function that has reported something."""
        task = asyncio.create_task(self.result())
        async with asyncio.timeout(60):
            await self.reported.wait()
        return task


@pytest.fixture
async def slots() -> AsyncIterator[Slots]:
    found = await open_slots(MODULE, 2, 2 << 30)
    assert found is not None
    yield found
    await found.close()


async def test_a_function_gets_its_arguments_by_position_or_name_and_its_result_comes_back(slots: Slots) -> None:
    run = Run(slots, "add", [1, 2])
    assert await run.result() == 3
    assert run.attempt.output == "adding 1\n"
    assert await Run(slots, "add", {"a": 3, "b": 4}).result() == 7
    assert await Run(slots, "later").result() == "later"
    assert slots.started == 1
    assert (slots.retries(run.job), slots.time(run.job)) == (1, 20)


async def test_a_function_has_its_context_and_its_progress_comes_in_order(slots: Slots) -> None:
    run = Run(slots, "say.progress", {"count": 40}, attempt=2)
    assert await run.result() == {"job": run.job.id, "attempt": 2, "key": run.job.id}
    assert run.progress == [
        *(ProgressEvent(number, 40, "step") for number in range(40)),
        ProgressEvent(data={"all": True}),
    ]


async def test_two_run_in_processes_of_their_own(slots: Slots) -> None:
    runs = [Run(slots, "stop_when_asked") for _ in range(2)]
    tasks = [await run.begun() for run in runs]
    assert slots.started == 2
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("name", "args", "error", "detail", "again"),
    [
        ("add", [1], "exception", "TypeError: add() missing 1 required positional argument: 'b'", True),
        ("leave", [], "exception", "SystemExit: leaving", True),
        ("none", [], "exception", "the module here has no function 'none'", True),
        ("odd", [], "exception", "the result cannot be written as JSON", False),
        ("large", [], "exception", "the result has 2097154 bytes, and may have 1048576", False),
        (
            "returned",
            ["nan"],
            "exception",
            "the result cannot be written as JSON: ValueError: Out of range float",
            False,
        ),
        (
            "returned",
            ["infinity"],
            "exception",
            "the result cannot be written as JSON: ValueError: Out of range",
            False,
        ),
        (
            "returned",
            ["long"],
            "exception",
            "the result cannot be written as JSON: ValueError: there is an integer",
            False,
        ),
        ("returned", ["half"], "exception", "the result cannot be written as JSON: UnicodeEncodeError", False),
        ("report_nan", [], "exception", "ValueError: progress cannot be written as JSON: Out of range float", True),
        ("odd_progress", [], "exception", "ValueError: progress cannot be written as JSON", True),
        ("eat", [], "exception", "MemoryError", True),
        ("odd_errors", ["surrogate"], "exception", "ValueError: ?", True),
        ("odd_errors", ["unspeakable"], "exception", "Unspeakable: its text raised ValueError", True),
        ("odd_errors", ["interrupt"], "exception", "KeyboardInterrupt", True),
        ("wrong_progress", [], "exception", "ValueError: progress cannot be written as JSON: Expected", True),
        ("close_all", [], "killed", "the process ended with exit code 1", True),
        ("write_on_socket", [], "killed", "a function has written to the socket of its process", True),
        ("die", {"how": 3}, "killed", "the process ended with exit code 3", True),
        ("die", {"how": -9}, "killed", "the process ended by signal SIGKILL", True),
    ],
)
async def test_what_goes_wrong_fails_its_own_attempt_and_the_next_one_runs(
    slots: Slots, name: str, args: Any, error: str, detail: str, again: bool
) -> None:
    failure = await Run(slots, name, args).failure()
    assert (failure.error, failure.again) == (error, again)
    assert failure.detail.startswith(detail)
    assert await Run(slots, "add", [1, 2]).result() == 3


async def test_what_json_has_a_form_for_is_a_result(slots: Slots) -> None:
    expected = {"set": [1], "bytes": "YWJj", "none": None, "long": (1 << 64) - 1, "number": 0.1, "1": [2]}
    assert await Run(slots, "odd_but_fine").result() == expected


@pytest.mark.parametrize(
    "what", ["nothing", "directory", "handler", "timer", "mask", "priority", "memory", "descriptors"]
)
async def test_a_process_in_which_a_function_has_left_something_is_not_used_again(slots: Slots, what: str) -> None:
    assert await Run(slots, "leave_behind", [what]).result() == what
    assert await Run(slots, "add", [1, 2]).result() == 3
    assert slots.started == (1 if what == "nothing" else 2)


async def test_a_traceback_is_in_the_output(slots: Slots) -> None:
    run = Run(slots, "add", [1, "x"])
    await run.failure()
    assert run.attempt.output is not None
    assert "Traceback" in run.attempt.output
    assert "unsupported operand" in run.attempt.output


async def cancel_while_its_process_starts(slots: Slots) -> None:
    """Run a function, and cancel it once it waits for a process that starts."""
    task = asyncio.create_task(Run(slots, "add", [1, 2]).result())
    async with asyncio.timeout(30):
        while slots._left or not slots._starting:  # one that was left is taken first
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_process_that_starts_for_a_job_that_is_cancelled_is_the_next_ones(slots: Slots) -> None:
    slots._dismiss()
    for _ in range(3):
        await cancel_while_its_process_starts(slots)
    assert await Run(slots, "add", [1, 2]).result() == 3
    assert slots.started == 2


@pytest.mark.parametrize("ended", [False, True], ids=["later", "before"])
async def test_a_start_that_fails_fails_only_the_job_that_began_it(
    slots: Slots, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    slots._dismiss()
    fails, start = asyncio.Event(), SlotProcess.start

    async def fail(*_: object) -> SlotProcess:
        await fails.wait()
        raise SlotGone("no process")

    monkeypatch.setattr(SlotProcess, "start", fail)
    await cancel_while_its_process_starts(slots)
    if ended:
        fails.set()
        await asyncio.wait(slots._left)
    monkeypatch.setattr(SlotProcess, "start", start)
    next_one = asyncio.create_task(Run(slots, "add", [1, 2]).result())
    await asyncio.sleep(0)
    fails.set()
    assert await next_one == 3
    monkeypatch.setattr(SlotProcess, "start", fail)
    slots._dismiss()
    assert "no process" in str(await Run(slots, "add", [1, 2]).failure())


async def test_a_process_that_starts_for_nobody_ends(slots: Slots) -> None:
    slots._dismiss()
    await cancel_while_its_process_starts(slots)
    (starting,) = slots._left
    slots._dismiss()
    async with asyncio.timeout(30):
        pid = (await starting).pid
        while _alive(pid):
            await asyncio.sleep(0.01)
    assert (slots._left, slots._starting, slots._generations) == ([], set(), {})


async def test_a_process_that_nobody_took_over_is_gone_when_they_are_closed(slots: Slots) -> None:
    slots._dismiss()
    await cancel_while_its_process_starts(slots)
    (starting,) = slots._left
    pid = (await starting).pid
    await slots.close()
    assert not _alive(pid)


async def test_one_that_is_cancelled_is_asked_to_stop(slots: Slots) -> None:
    task = await Run(slots, "stop_when_asked").begun()
    task.cancel()
    async with asyncio.timeout(8):  # less than the grace after which it would be killed
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await Run(slots, "add", [1, 2]).result() == 3


async def test_one_that_does_not_stop_is_killed_with_its_children(slots: Slots) -> None:
    run = Run(slots, "deaf")
    task = await run.begun()
    child = run.progress[0].data
    (slot,) = slots._busy
    slot.grace = 0.1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30):
        while _alive(child):
            await asyncio.sleep(0.01)
    assert slots._busy == set()


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_one_that_prints_for_ever_keeps_its_newest_output_and_nobody_waits(slots: Slots) -> None:
    run = Run(slots, "print_for_ever")
    task = await run.begun()
    assert await Run(slots, "add", [1, 2]).result() == 3
    (slot,) = slots._busy
    async with asyncio.timeout(30):
        while len(slot.output) < 16_000:
            await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert run.attempt.output is not None
    assert 16_000 <= len(run.attempt.output) <= 16 << 10


@pytest.mark.parametrize("how", ["descriptor", "file", "none", "memory", "broken"])
async def test_one_that_closes_its_output_ends_all_the_same_and_the_next_one_prints(slots: Slots, how: str) -> None:
    assert await Run(slots, "close_output", [how]).result() == "closed"
    after = Run(slots, "add", [1, 2])
    assert await after.result() == 3
    assert after.attempt.output == "adding 1\n"


async def test_one_that_forks_and_returns_twice_has_one_result_and_so_has_the_next(slots: Slots) -> None:
    assert await Run(slots, "fork_and_return").result() == "parent"
    assert await Run(slots, "add", [1, 2]).result() == 3
    assert slots.started == 1


@pytest.mark.parametrize("how", ["exit", "apart"])
async def test_the_end_of_a_process_is_noticed_though_a_child_holds_what_it_had(slots: Slots, how: str) -> None:
    run = Run(slots, "leave_a_child", {"how": how})
    failure = await run.failure()
    assert (failure.error, failure.detail) == ("killed", "the process ended with exit code 3")
    with suppress(ProcessLookupError):
        os.kill(run.progress[0].data, signal.SIGKILL)


async def test_what_a_function_leaves_running_ends_with_its_process(slots: Slots) -> None:
    run = Run(slots, "leave_a_child", {"how": "return"})
    assert await run.result() == "left"
    assert await Run(slots, "add", [1, 2]).result() == 3
    await slots.close()
    async with asyncio.timeout(30):
        while _alive(run.progress[0].data):
            await asyncio.sleep(0.01)


async def test_a_thread_that_reports_on_costs_the_next_function_nothing(slots: Slots) -> None:
    assert await Run(slots, "leave_a_thread").result() == "left"
    after = Run(slots, "say.progress", {"count": 3})
    await after.result()
    assert after.progress == [
        *(ProgressEvent(number, 3, "step") for number in range(3)),
        ProgressEvent(data={"all": True}),
    ]


async def test_threads_that_report_at_once_do_not_mix_their_reports(slots: Slots) -> None:
    run = Run(slots, "report_at_once")
    assert await run.result() == "reported"
    assert run.progress == [ProgressEvent(data="x" * 500_000)] * 8


async def test_one_that_cannot_report_its_progress_is_ended_and_the_next_one_has_its_own_result(
    slots: Slots,
) -> None:
    run = Run(slots, "say.progress", {"count": 3})

    async def fail(progress: ProgressEvent) -> None:
        raise RuntimeError("a bug")

    run.attempt.report = fail
    with pytest.raises(RuntimeError, match="a bug"):
        await run.result()
    assert await Run(slots, "add", [1, 2]).result() == 3
    assert slots.started == 2


async def test_one_that_waits_for_itself_is_killed(slots: Slots) -> None:
    task = asyncio.create_task(Run(slots, "deadlock").result())
    async with asyncio.timeout(60):
        while not slots._busy:
            await asyncio.sleep(0.01)
    (slot,) = slots._busy
    slot.grace = 0.1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await Run(slots, "add", [1, 2]).result() == 3


async def test_when_the_service_ends_nobody_waits_for_functions(slots: Slots) -> None:
    task = await Run(slots, "deaf").begun()
    pids = [slot.pid for slot in slots._busy]
    slots.hasten()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await slots.close()
    assert not any(map(_alive, pids))


async def test_a_function_that_there_is_not_is_refused(slots: Slots) -> None:
    with pytest.raises(NotFound, match=r"run\.name: the function 'none' does not exist"):
        slots.check(RunWork("none"), EVERYTHING)
    slots.check(RunWork("add"), EVERYTHING)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("raise OSError('boom')", "OSError: boom"),
        ("import nothing_of_the_kind", "No module named"),
        ("def", "SyntaxError"),
        ("import sys; sys.exit('set DATABASE_URL')", "SystemExit: set DATABASE_URL"),
        ("", "/badly.py has no functions with @job"),
    ],
)
async def test_a_module_that_cannot_be_imported_is_one_clear_line(
    text: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "badly.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SlotsUnusable, match="--jobs badly: ") as caught:
        await open_slots("badly", 1, 0)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_module_is_imported_anew_and_what_runs_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "changing.py"
    text = "from service.jobs import job\nimport time\n@job\ndef f(context):\n    context.progress(message='runs')\n    while not context.cancelled: time.sleep(0.01)\n"
    file.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    slots = await open_slots("changing", 2, 0)
    assert slots is not None
    task = await Run(slots, "f").begun()
    file.write_text("from service.jobs import job\n@job\ndef g():\n    return 'new'\n")
    await slots.reload()
    assert await Run(slots, "g").result() == "new"
    with pytest.raises(NotFound):
        slots.check(RunWork("f"), EVERYTHING)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await slots.close()


class Changing:
    """A module whose function changes while a process that imports it starts."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file = folder / "altered.py"
        self._monkeypatch = monkeypatch
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        self.write("old")

    def write(self, result: str) -> None:
        self._file.write_text(
            f"from service.jobs import job\n@job\ndef f(): return {result!r}\n@job\ndef {result}(): ...\n"
        )

    async def while_one_starts(self, starts: Coroutine[Any, Any, Any], change: Coroutine[Any, Any, Any]) -> Any:
        """Call something that starts a process, change the module meanwhile, and return the outcome of the call."""
        start, imported, changed = SlotProcess.start, asyncio.Event(), asyncio.Event()

        async def start_slowly(module: str, memory: int) -> SlotProcess:
            slot = await start(module, memory)
            imported.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await changed.wait()
            return slot

        self._monkeypatch.setattr(SlotProcess, "start", start_slowly)
        first = asyncio.create_task(starts)
        await imported.wait()
        self._monkeypatch.setattr(SlotProcess, "start", start)
        self.write("new")
        await change
        changed.set()
        return await first


async def test_a_process_that_was_starting_when_the_module_was_reloaded_is_used_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing = Changing(tmp_path, monkeypatch)
    slots = await open_slots("altered", 2, 0)
    assert slots is not None
    slots._dismiss()
    assert await changing.while_one_starts(Run(slots, "f").result(), slots.reload()) == "old"
    assert [await Run(slots, "f").result() for _ in range(2)] == ["new", "new"]
    await slots.close()


async def test_of_two_reloads_the_later_one_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changing = Changing(tmp_path, monkeypatch)
    slots = await open_slots("altered", 2, 0)
    assert slots is not None
    await changing.while_one_starts(slots.reload(), slots.reload())
    slots.check(RunWork("new"), EVERYTHING)
    assert await Run(slots, "f").result() == "new"
    await slots.close()


async def test_without_a_module_there_are_no_slots() -> None:
    assert await open_slots(None, 0, 0) is None


async def test_processes_that_have_nothing_to_do_are_ended(slots: Slots, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.jobs.slots._IDLE", 0.05)
    await Run(slots, "add", [1, 2]).result()
    pids = [slot.pid for slot in slots._free]
    async with asyncio.timeout(30):
        while any(map(_alive, pids)):
            await asyncio.sleep(0.01)
    assert await Run(slots, "add", [1, 2]).result() == 3


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"retries": -1}, "retries is a whole number from 0 to 100, and not -1"),
        ({"retries": 1.5}, "retries"),
        ({"retries": True}, "retries"),
        ({"timeout": 0}, "timeout is a number of seconds above 0"),
        ({"timeout": "5"}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"name": "x" * 129}, "name is a text of 1 to 128 characters"),
        ({"name": 3}, "name"),
    ],
)
def test_what_no_request_could_say_is_refused_when_a_function_is_registered(
    options: dict[str, Any], wrong: str
) -> None:
    before = dict(JOBS)
    with pytest.raises(ValueError, match=f"@job: {wrong}"):
        job(**options)(lambda: None)
    assert before == JOBS


def test_a_name_is_registered_once() -> None:
    @job(name="registered once")
    def function() -> None:
        """Do nothing."""

    with pytest.raises(ValueError, match="registered already"):
        job(name="registered once")(function)
    del JOBS["registered once"]


async def test_functions_run_where_the_working_directory_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    slots = Slots("tests.slots.functions", 1, 0)
    await slots.reload()
    assert [await Run(slots, "add", [1, 2]).result() for _ in range(2)] == [3, 3]
    assert slots.started == 1
    await slots.close()


async def test_a_module_may_put_something_in_place_of_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import sys\nfrom service.jobs import job\nsys.stdout = None\n@job\ndef f():\n    return 1\n"
    (tmp_path / "muted.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    slots = await open_slots("muted", 1, 0)
    assert slots is not None
    assert [await Run(slots, "f").result() for _ in range(2)] == [1, 1]
    assert slots.started == 1
    await slots.close()


@pytest.mark.parametrize(("module", "name"), [(os, "pipe"), (socket, "socketpair")])
async def test_where_descriptors_are_used_up_the_job_is_tried_again(
    slots: Slots, monkeypatch: pytest.MonkeyPatch, module: Any, name: str
) -> None:
    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    slots._dismiss()
    await asyncio.gather(*slots._ending)
    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patched:
        patched.setattr(module, name, none_left)
        with pytest.raises(AttemptFailed, match="cannot be started: Too many open files") as failed:
            await Run(slots, "add", [1, 2]).result()
    assert failed.value.again
    await asyncio.sleep(0)  # the loop closes the pipe
    assert len(os.listdir("/proc/self/fd")) == before
    assert await Run(slots, "add", [1, 2]).result() == 3
