"""The worker pool: an errand that ends its process, or hangs, costs itself alone."""

import asyncio
import errno
import os
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest

from service.core.owner import Owner
from service.work import worker_process
from service.work.errands import Errand, pack, receive, unpack
from service.work.worker_pool import StepTimeout, WorkerPool
from service.work.worker_process import WorkerGone

OWNER = Owner("somebody")
MODULE = """
import os, time
import msgspec
from service.work.step import Body, Made, Product, StepFailed, step

class Nothing(msgspec.Struct):
    at_least: int = 0

@step("length", Nothing, runs="process")
def length(body, parameters):
    return Made({"length": len(body.data), "type": body.type, "at_least": parameters.at_least}, Product(bytes(body.data), "a/b"))

@step("exit", Nothing, runs="process")
def leave(body, parameters):
    os._exit(3)

@step("exit_once", Nothing, runs="process")
def leave_once(body, parameters):
    path = bytes(body.data).decode()
    if os.path.exists(path):
        return Made({"again": True})
    open(path, "w").close()
    os._exit(3)

@step("hang", Nothing, runs="process")
def hang(body, parameters):
    time.sleep(600)

@step("memory", Nothing, runs="process")
def memory(body, parameters):
    return Made({"n": len(bytearray(2 << 30))})

@step("place", Nothing, runs="process")
def place(body, parameters):
    return Made({"adj": int(open("/proc/self/oom_score_adj").read())})

@step("print", Nothing, runs="process")
def write(body, parameters):
    os.write(1, b"out")
    os.write(2, b"err")
    print("printed", flush=True)
    return Made()

@step("bug", Nothing, runs="process")
def bug(body, parameters):
    raise KeyError("what")

@step("refuse", Nothing, runs="process")
def refuse(body, parameters):
    raise StepFailed("not a body that I like")

@step("quit", Nothing, runs="process")
def quit_(body, parameters):
    raise SystemExit("this")

@step("shout", Nothing, runs="process")
def shout(body, parameters):
    raise StepFailed("a" * 1_000_000)

@step("fork", Nothing, runs="process")
def fork(body, parameters):
    return Made({"child": not os.fork()})

@step("leave_behind", Nothing, runs="process")
def leave_behind(body, parameters):
    child = os.fork()
    if not child:
        time.sleep(600)
    open(bytes(body.data).decode(), "a").write(f"{child} ")
    os._exit(3)

@step("long", Nothing, runs="process")
def long(body, parameters):
    return Made({"text": "x" * (17 << 20)})

@step("text", Nothing, runs="process")
def text(body, parameters):
    return Made(product=Product("text", "text/plain"))

@step("half", Nothing, runs="process")
def half(body, parameters):
    raise KeyError("\\udcff")
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "odd_steps.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return ["odd_steps"]


def errand(step: str, at_least: int = 0) -> Errand:
    return Errand(step, msgspec.Raw(msgspec.json.encode({"at_least": at_least})), "text/plain", "http://a/")


async def test_a_body_of_any_size_goes_there_and_its_outcome_comes_back(modules: list[str]) -> None:
    pool = WorkerPool(2, modules, memory=1 << 30)
    for size in (0, 1, 70_000, 5 << 20):
        answer, data = await pool.carry_out(errand("length", 7), b"x" * size, OWNER, 30)
        assert msgspec.json.decode(data[: answer.fields]) == {
            "step": "length",
            "length": size,
            "type": "text/plain",
            "at_least": 7,
        }
        assert (answer.type, data[answer.fields :]) == ("a/b", b"x" * size)
    await pool.close()


async def test_a_process_that_ends_costs_its_own_errand_after_a_second_try(
    modules: list[str], tmp_path: Path
) -> None:
    pool = WorkerPool(2, modules, memory=1 << 30)
    with pytest.raises(WorkerGone, match="^no process carried it out, in two tries: a process has ended"):
        await pool.carry_out(errand("exit"), b"", OWNER, 30)
    assert pool.replaced == 2
    await asyncio.gather(*(pool.carry_out(errand("length"), b"", OWNER, 30) for _ in range(2)))
    before = set(pool._free)
    _, data = await pool.carry_out(errand("exit_once"), str(tmp_path / "was").encode(), OWNER, 30)
    assert msgspec.json.decode(data) == {"step": "exit_once", "again": True}
    # What killed one may be killing all: the second try was in a new one.
    assert len(pool._free) == 2
    assert pool._free[-1] not in before
    await pool.close()


async def test_processes_that_were_killed_while_idle_cost_no_errand(modules: list[str]) -> None:
    pool = WorkerPool(3, modules, memory=1 << 30)
    await asyncio.gather(*(pool.carry_out(errand("length"), b"", OWNER, 30) for _ in range(3)))
    idle = list(pool._free)
    for worker in idle:
        worker._process.kill()
        await worker.wait()
    answer, _ = await pool.carry_out(errand("length"), b"abc", OWNER, 30)
    assert answer.failed is None
    assert pool.replaced == len(idle) == 3
    await pool.close()


async def test_an_answer_whose_file_cannot_be_taken_is_asked_for_again(
    modules: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where all descriptors are in use: the kernel gives the datagram alone."""
    pool = WorkerPool(1, modules, memory=1 << 30)
    await pool.carry_out(errand("length"), b"", OWNER, 30)
    lost = [True]

    def short(connection: socket.socket) -> tuple[bytes, int]:
        datagram, descriptor = receive(connection)
        if lost and datagram:
            lost.clear()
            os.close(descriptor)
            return datagram, -1
        return datagram, descriptor

    monkeypatch.setattr(worker_process, "receive", short)
    answer, _ = await pool.carry_out(errand("length"), b"abc", OWNER, 30)
    assert (answer.failed, pool.replaced) == (None, 1)
    await pool.close()


@pytest.mark.parametrize("step", ["quit", "shout", "half"])
async def test_no_exception_and_no_text_ends_a_process(modules: list[str], step: str) -> None:
    pool = WorkerPool(1, modules, memory=1 << 30)
    answer, _ = await pool.carry_out(errand(step), b"", OWNER, 30)
    said = answer.failed or answer.broken or ""
    assert {"quit": "SystemExit", "shout": "a" * 2000, "half": "\\udcff"}[step] in said
    assert len(said) <= 2010
    assert pool.replaced == 0
    await pool.close()


async def test_a_step_that_forks_answers_once_and_the_next_has_its_own_answer(modules: list[str]) -> None:
    pool = WorkerPool(1, modules, memory=1 << 30)
    for _ in range(3):
        _, data = await pool.carry_out(errand("fork"), b"", OWNER, 30)
        assert msgspec.json.decode(data) == {"step": "fork", "child": False}
        answer, data = await pool.carry_out(errand("length"), b"abc", OWNER, 30)
        assert msgspec.json.decode(data[: answer.fields])["length"] == 3
    assert pool.replaced == 0
    await pool.close()


async def test_what_a_step_has_started_ends_with_its_process_and_holds_nobody_up(
    modules: list[str], tmp_path: Path
) -> None:
    pool = WorkerPool(1, modules, memory=1 << 30)
    with pytest.raises(WorkerGone, match="in two tries"):
        await pool.carry_out(errand("leave_behind"), str(tmp_path / "pids").encode(), OWNER, 600)
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    async with asyncio.timeout(10):
        while any(is_alive(pid) for pid in pids):
            await asyncio.sleep(0.01)
    await pool.close()


def is_alive(pid: int) -> bool:
    """Say whether a process runs: it may be dead and not yet collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_what_a_step_makes_wrong_is_its_own_bug_and_its_process_goes_on(modules: list[str]) -> None:
    pool = WorkerPool(1, modules, memory=1 << 30)
    answer, _ = await pool.carry_out(errand("text"), b"", OWNER, 30)
    assert "data of a product are bytes, not str" in (answer.broken or "")
    answer, data = await pool.carry_out(errand("long"), b"", OWNER, 30)
    assert (answer.failed, len(data)) == ("the results have more than 16,777,216 bytes", 0)
    assert pool.replaced == 0
    await pool.close()


async def test_one_that_takes_too_long_is_ended_and_the_others_go_on(modules: list[str]) -> None:
    pool = WorkerPool(2, modules, memory=1 << 30)
    hanging = asyncio.create_task(pool.carry_out(errand("hang"), b"", OWNER, 0.5))
    answer, _ = await pool.carry_out(errand("length"), b"abc", OWNER, 30)
    assert answer.failed is None
    with pytest.raises(StepTimeout, match=r"longer than 0\.5 s"):
        await hanging
    await pool.close()


async def test_one_that_needs_too_much_memory_or_has_a_bug_says_so_and_its_process_goes_on(
    modules: list[str],
) -> None:
    pool = WorkerPool(1, modules, memory=1 << 30)
    answer, _ = await pool.carry_out(errand("memory"), b"", OWNER, 30)
    assert answer.failed == "needs more memory than a step may have"
    answer, _ = await pool.carry_out(errand("bug"), b"", OWNER, 30)
    assert answer.broken is not None
    assert "KeyError: 'what'" in answer.broken
    answer, _ = await pool.carry_out(errand("refuse"), b"", OWNER, 30)
    assert answer.failed == "not a body that I like"
    assert pool.replaced == 0
    await pool.close()


async def test_where_memory_is_used_up_the_kernel_ends_a_process_before_the_service(modules: list[str]) -> None:
    pool = WorkerPool(1, modules, memory=1 << 30)
    _, data = await pool.carry_out(errand("place"), b"", OWNER, 30)
    assert msgspec.json.decode(data)["adj"] == 1000
    await pool.close()


async def test_one_that_is_cancelled_leaves_its_place_and_no_process(modules: list[str]) -> None:
    pool = WorkerPool(1, modules, memory=1 << 30)
    await pool.carry_out(errand("length"), b"", OWNER, 30)
    hanging = asyncio.create_task(pool.carry_out(errand("hang"), b"", OWNER, 60))
    while pool.turns.taken == 0:
        await asyncio.sleep(0)
    hanging.cancel()
    answer, _ = await pool.carry_out(errand("length"), b"abc", OWNER, 30)
    assert answer.failed is None
    await pool.close()


async def test_what_a_step_or_its_libraries_print_does_not_reach_the_log(modules: list[str], capfd: Any) -> None:
    pool = WorkerPool(1, modules, memory=1 << 30)
    answer, _ = await pool.carry_out(errand("print"), b"", OWNER, 30)
    assert (answer.failed, answer.broken) == (None, None)
    await pool.close()
    assert capfd.readouterr() == ("", "")


async def test_a_module_that_cannot_be_imported_fails_the_errand(tmp_path: Path) -> None:
    pool = WorkerPool(1, ["no_such_module"], memory=1 << 30)
    with pytest.raises(WorkerGone):
        await pool.carry_out(errand("length"), b"", OWNER, 30)
    await pool.close()


async def test_a_process_that_does_not_start_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_steps.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(worker_process, "_START", 0.1)
    pool = WorkerPool(1, ["slow_steps"], memory=1 << 30)
    with pytest.raises(WorkerGone, match="was not ready within"):
        await pool.carry_out(errand("length"), b"", OWNER, 30)
    await pool.close()


async def test_who_has_every_process_does_not_lock_out_the_others(modules: list[str]) -> None:
    pool = WorkerPool(1, modules, memory=1 << 30)
    hanging = [asyncio.create_task(pool.carry_out(errand("hang"), b"", Owner("a"), 600)) for _ in range(3)]
    try:
        await asyncio.sleep(0)
        for _ in range(2):
            answer, _ = await pool.carry_out(errand("length"), b"abc", Owner("b"), 30)
            assert answer.failed is None
        assert (pool.turns.taken, pool.turns.waiting) == (1, 2)
    finally:
        for task in hanging:
            task.cancel()
        await asyncio.wait(hanging)
        await pool.close()


def test_what_another_process_has_sent_cannot_be_cut_off() -> None:
    descriptor = pack([b"x" * 100_000])
    theirs = os.dup(descriptor)
    try:
        contents = unpack(descriptor)
        with pytest.raises(PermissionError):
            os.ftruncate(theirs, 0)
        assert contents[99_999:] == b"x"
    finally:
        os.close(theirs)


def test_a_file_that_cannot_be_sealed_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a")
    with pytest.raises(OSError, match="Invalid argument|not permitted"):
        unpack(os.open(tmp_path / "file", os.O_RDWR))


async def test_where_descriptors_are_used_up_no_process_is_started(
    modules: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    pool = WorkerPool(1, modules, memory=1 << 30)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "socketpair", none_left)
        with pytest.raises(WorkerGone, match="cannot be started: Too many open files"):
            await pool.carry_out(errand("length"), b"", OWNER, 30)
    assert (await pool.carry_out(errand("length"), b"", OWNER, 30))[0].fields
    await pool.close()
