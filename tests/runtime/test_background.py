"""Every piece of background work is in one table, and each of them raises once here: it is counted, and goes on."""

import ast
import asyncio
import io
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from service.app import composition, starting
from service.commands.fetch.progress import ProgressDisplay
from service.commands.fetch.run import FetchRun
from service.commands.fetch.tally import Tally
from service.core.fetching.dial_policy import Policy
from service.core.fetching.outcome import Failure
from service.core.fetching.request import Options
from service.core.jobs.summary import JobState
from service.core.owner import SERVICE
from service.core.pool import Pool
from service.edge.http.server import HttpServer
from service.edge.routes.health import starting_application
from service.jobs.attempts import LocalAttempts
from service.jobs.remote_attempts import RemoteAttempts
from service.jobs.slot_messages import END
from service.jobs.slot_output import SlotOutput
from service.jobs.slot_process import SlotProcess
from service.ops import housekeeping
from service.ops.logs import Logs
from service.ops.process import resident
from service.runtime.background import BACKGROUND, OTHER, OnFailure
from service.runtime.containment import contain
from service.runtime.supervisor import Supervisor
from service.runtime.timer import Periodic
from service.sources.watch import Watch
from service.upstream.fetcher import Fetcher
from service.upstream.guard import GuardedResolver
from service.upstream.reading import BodyReads
from service.upstream.robots import Robots
from service.work.pipelines.pipeline import Item as PipelineItem
from service.work.pipelines.pipeline import Pipeline, Stage
from service.work.step_runner import StepOutcome, StepRunner
from tests.core.stores import FakeStore
from tests.edge.running import Client, call, client_of
from tests.jobs.remote import FakeBroker, Functions, RemoteBench
from tests.jobs.test_worker_attempt import Bench as WorkerBench
from tests.upstream.servers import policy_for, target_of

ROOT = Path(__file__).parent.parent.parent / "service"
CLIENT = {"sluice client", "sluice client: renewal", "sluice client: writer", "sluice client: batch"}
"""The tasks of the client, which is a distribution of its own: test_client_tasks.py has each of them raise."""


class Item:
    """An item that a timer looks after."""

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)


class Odd(RuntimeError):
    """What the work raises."""


def reported() -> list[str]:
    """Return a list to which every error is added that the loop's handler gets from now on."""
    errors: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context["message"]))
    return errors


def failing_once(right: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    """Return a function that raises the first time it is called, and then is the right one."""

    def odd(*arguments: Any, **more: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise Odd
        return right(*arguments, **more)

    return odd


# The table and the code


@cache
def trees() -> list[tuple[str, ast.Module]]:
    paths = sorted(ROOT.rglob("*.py"))
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text())) for path in paths]


@pytest.fixture(scope="module", autouse=True)
def free_trees() -> Iterator[None]:
    """Free millions of objects that every later run of the garbage collector would look at."""
    yield
    trees.cache_clear()


def called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def named(call: ast.Call) -> str | None:
    """Return the constant beginning of a task's name."""
    name = next((keyword.value for keyword in call.keywords if keyword.arg == "name"), None)
    if isinstance(name, ast.JoinedStr) and isinstance(name.values[0], ast.Constant):
        name = name.values[0]
    return str(name.value).strip() if isinstance(name, ast.Constant) else None


def unowned(tree: ast.Module, known: set[str]) -> list[int]:
    """Return the lines that make a task without a name of the table."""
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and called(node) in ("create_task", "ensure_future")
        and named(node) not in known
    ]


def rearmed(tree: ast.Module) -> list[int]:
    """Return the lines where a function sets a timer for itself: an error in it would end it for good."""
    return [
        call.lineno
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and called(call) in ("call_later", "call_at")
        for argument in call.args
        if isinstance(argument, ast.Attribute) and argument.attr == function.name
    ]


# Names that come in as a variable: of the table, because Supervisor.start looks them up; of the client's own.
BY_VARIABLE = {"runtime/supervisor.py": 1, "client/link.py": 1}


def test_every_task_in_the_code_has_a_name_of_the_table() -> None:
    found = {path: unowned(tree, {*BACKGROUND, *CLIENT}) for path, tree in trees()}
    assert {path: len(lines) for path, lines in found.items() if lines} == BY_VARIABLE


# The second contains what it calls, and comes back after an error too.
SAFE = {"runtime/timer.py": 1, "upstream/delivery.py": 1}


def test_no_timer_arms_itself_but_through_the_helper_that_survives_errors() -> None:
    found = {path: rearmed(tree) for path, tree in trees()}
    assert {path: len(lines) for path, lines in found.items() if lines} == SAFE


def test_the_rules_of_this_file_find_what_they_are_for() -> None:
    bad = ast.parse(
        "class A:\n def look(self):\n  loop.call_later(1, self.look)\n  loop.create_task(f(), name='unheard of')\n"
    )
    assert (rearmed(bad), unowned(bad, {"fetch"})) == ([3], [4])
    good = ast.parse("loop.create_task(f(), name=f'fetch {url}')")
    assert unowned(good, {"fetch"}) == []


def test_the_table_has_no_work_that_nobody_does() -> None:
    text = "".join(path.read_text() for path in ROOT.rglob("*.py") if path.name != "background.py")
    assert [name for name in BACKGROUND if f'"{name}' not in text] == []


def test_no_assertion_has_an_effect() -> None:
    """Under ``python -O`` it would not be there."""
    found = [
        f"{path}:{node.lineno}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert) and any(effective(part) for part in ast.walk(node.test))
    ]
    assert found == []


def effective(part: ast.AST) -> bool:
    """Whether a part of an assertion may change something: a call, a name that is set, or a wait."""
    if isinstance(part, ast.Call):
        return called(part) not in ("isinstance", "len")
    return isinstance(part, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom)


@pytest.mark.parametrize(
    "test", ["task.cancel()", "(found := 1)", "await done", "len(f())", "all(f(x) for x in y)"]
)
def test_an_assertion_with_an_effect_is_found(test: str) -> None:
    tree = ast.parse(f"async def f():\n assert {test}")
    assert any(effective(part) for part in ast.walk(tree))


# The work itself: each raises once.


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(600):
        while not condition():
            await asyncio.sleep(0.05)


async def a_socket(client: Client) -> None:
    async with client.socket():
        await asyncio.sleep(55)


async def a_slow_fetch(client: Client) -> None:
    urls = [f"{client.origin}/delay/3000"]
    status, body, _ = await client.batch({"urls": urls})
    assert (status, b'"ok":1' in body) == (200, True), body
    await asyncio.sleep(60)


async def a_token_that_ends(client: Client) -> None:
    ended = asyncio.Event()
    holder: Any = Item(expire=ended.set)
    expiries = client.service.streams.expiries
    expiries.set(holder, expiries._clock() + 3)
    await asyncio.wait_for(ended.wait(), 60)


async def a_store_that_never_answers(client: Client) -> None:
    client.service.hub.store = FakeStore()
    async with client.socket() as socket:
        assert (await call(socket, "publish", topic="t", data=1))["data"]["reason"] == "gateway_timeout"


async def a_stalled_connection(client: Client) -> None:
    revisited = asyncio.Event()
    connection: Any = Item(reading=True, full=lambda: False, revisit=revisited.set)
    client.service.sockets.stalled.add(connection)
    await asyncio.wait_for(revisited.wait(), 60)


async def a_batch_that_is_held_back(client: Client) -> None:
    woken = asyncio.Event()
    held: Any = client.service.batches._holding
    held._woken = lambda _: woken.set()
    held.add(SimpleNamespace(id="b", topic=SimpleNamespace(on_taken=None)))
    await asyncio.wait_for(woken.wait(), 60)


async def connections_that_have_to_wait(client: Client) -> None:
    acceptor: Any = client.service.acceptor
    most, acceptor._most = acceptor._most, 0
    acceptor._pause()
    await asyncio.sleep(5)
    acceptor._most = most
    acceptor._resume()
    assert (await client.ask("GET", "/healthz"))[0] == 200


async def a_watch_that_nobody_watches(client: Client) -> None:
    client.service.watches._idle._timer.start()
    await asyncio.sleep(200)


async def a_job_that_is_due_later(client: Client) -> None:
    await client.ask("POST", "/jobs", json={"publish": {"topic": "t", "data": 1}, "delay": 5})
    await until(lambda: "t" in client.service.hub.topics)


async def a_leased_job(client: Client) -> None:
    jobs = client.service.jobs
    remote = RemoteAttempts(
        jobs._updates, Functions(), FakeBroker(), jobs._outcomes, jobs.find, jobs.schedule.wake, jobs.keep_up
    )
    remote.restore([1])
    await asyncio.sleep(3)
    remote.close()


TIMERS: dict[str, Callable[[Client], Awaitable[None]]] = {
    "accept": connections_that_have_to_wait,
    "connection pool": a_slow_fetch,
    "deadlines": a_slow_fetch,
    "expiries": a_token_that_ends,
    "heartbeat": a_socket,
    "held batches": a_batch_that_is_held_back,
    "jobs": a_job_that_is_due_later,
    "idle watches": a_watch_that_nobody_watches,
    "leases": a_leased_job,
    "late answers": a_store_that_never_answers,
    "stalled connections": a_stalled_connection,
    "watchdog": a_slow_fetch,
}
SUPERVISED: dict[str, tuple[str, str]] = {
    "sweep": ("", ""),
    "overload": ("overload", "update"),
    "statistics": ("batches", "statistics"),
    "loop lag": ("", ""),
    "memory": ("", ""),
    "notify": ("", ""),
    "cycles": ("", ""),
}


@pytest.mark.parametrize("name", TIMERS)
async def test_a_timer_that_raises_once_goes_on(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []
    made = Periodic.__init__

    def init(timer: Periodic, its_name: str, every: float, run: Callable[[], float | None]) -> None:
        made(timer, its_name, every, failing_once(run, calls) if its_name == name else run)

    monkeypatch.setattr(Periodic, "__init__", init)
    async with client_of() as client:
        await TIMERS[name](client)
        assert len(calls) >= 2
        assert client.service.supervisor.failures[name] == 1
        body = (await client.ask("GET", "/metrics"))[1]
        assert f'sluice_task_failures_total{{task="{name}"}} 1.0'.encode() in body
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert (vars(record)["task"], record.exc_info is not None) == (name, True)


@pytest.mark.parametrize("name", SUPERVISED)
async def test_a_task_of_the_service_that_raises_once_goes_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    async with client_of() as client, client.socket() as socket:
        service, (part, method) = client.service, SUPERVISED[name]
        await socket.send_str('{"jsonrpc":"2.0","method":"subscribe","params":{"topic":"_stats"}}')
        if part:
            target = getattr(service, part)
            monkeypatch.setattr(target, method, failing_once(getattr(target, method), calls))
        elif name == "loop lag":
            from service.core.histogram import Histogram

            monkeypatch.setattr(Histogram, "observe", failing_once(Histogram.observe, calls))
        elif name == "sweep":
            monkeypatch.setattr(housekeeping, "contain", failing_once(contain, calls))
        elif name == "memory":
            monkeypatch.setattr(housekeeping, "resident", failing_once(resident, calls))
        else:

            async def tell() -> None:
                while True:
                    signs()
                    await asyncio.sleep(1)

            signs = failing_once(lambda: None, calls)
            # Only the process itself has these two.
            service.supervisor.start(name, tell)
        await until(lambda: len(calls) >= 3)
        assert service.supervisor.failures[name] == 1
        body = (await client.ask("GET", "/metrics"))[1]
        assert f'sluice_task_failures_total{{task="{name}"}} 1.0'.encode() in body


async def a_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fetcher, "fetch", failing_once(Fetcher.fetch, []))
    async with client_of() as client:
        urls = [f"{client.origin}/bytes/{size}" for size in (1, 2, 3)]
        _, body, _ = await client.batch({"urls": urls})
        assert (b'"ok":2' in body, b'"failed":1' in body) == (True, True), body


async def a_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client_of() as client:
        monkeypatch.setattr(HttpServer, "__call__", failing_once(HttpServer.__call__, []))
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
        await until(lambda: client.service.supervisor.failures[OTHER] == 1)
        assert (await client.ask("GET", "/healthz"))[0] == 200


async def a_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lookup(host: str) -> list[str]:
        answer()
        return ["192.0.2.1"]

    answer = failing_once(lambda: None, [])
    resolver = GuardedResolver(Policy(nets=(), ports=frozenset({80}), own=frozenset()), cast("Any", lookup))
    with pytest.raises(Odd):
        await resolver.resolve("h.example")
    assert not resolver.asking("h.example")


async def a_robots_txt(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fetch(*_: object) -> Failure:
        answer()
        return Failure("redirects", "too many")

    answer = failing_once(lambda: None, [])
    robots, target = Robots(fetch), target_of("http://127.0.0.1:8/a", policy_for(8))
    with pytest.raises(Odd):
        await robots.allows(target, SERVICE)
    assert await robots.allows(target, SERVICE)


async def a_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(Watch, "read", failing_once(Watch.read, calls))
    async with client_of() as client, client.socket() as socket:
        params = {"url": f"{client.origin}/bytes/5", "every": 1}
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "watch", "params": params})
        await until(lambda: len(calls) >= 2)


async def the_log(_: pytest.MonkeyPatch) -> None:
    class Stream(io.StringIO):
        write = failing_once(io.StringIO.write, [])

    stream, failures = Stream(), Counter[str]()
    logs = Logs(stream, failures=failures)
    logs.start()
    logging.getLogger("x").warning("first")
    while not failures["log writer"]:
        await asyncio.sleep(0.01)
    logging.getLogger("x").warning("second")
    logs.stop()
    assert failures["log writer"] == 1
    assert "second" in stream.getvalue()
    assert "lines were dropped" in stream.getvalue()


async def on_a_loop_of_its_own(name: str, start: Callable[[], Periodic], calls: list[int]) -> None:
    supervisor = Supervisor()
    asyncio.get_running_loop().set_exception_handler(supervisor.on_loop_error)
    timer = start()
    await until(lambda: len(calls) >= 2)
    timer.stop()
    assert supervisor.failures[name] == 1


async def the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(ProgressDisplay, "line", failing_once(ProgressDisplay.line, calls))
    output: Any = SimpleNamespace(waiting=0, put=lambda *_: None)
    await on_a_loop_of_its_own("progress", ProgressDisplay(Tally(3), output, bar=False).start, calls)


async def slow_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(BodyReads, "_check", failing_once(BodyReads._check, calls))
    reading = BodyReads(Pool("reading_bytes", 100))

    def start() -> Periodic:
        body = reading.begin(SERVICE, lambda: body.end())
        return reading._timer

    await on_a_loop_of_its_own("slow bodies", start, calls)


async def the_stall_check(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(FetchRun, "_check", failing_once(FetchRun._check, calls))
    run: Any = SimpleNamespace(
        _lines=None,
        _saving=set(),
        _steps=SimpleNamespace(running=0),
        _loop=asyncio.get_running_loop(),
        _moved=0.0,
        _options=Options(),
    )
    run._check = lambda: FetchRun._check(run)

    def start() -> Periodic:
        timer = Periodic("stall check", 0.2, run._check)
        timer.start()
        return timer

    await on_a_loop_of_its_own("stall check", start, calls)


async def the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(starting, "_SOON", 0.0)
    monkeypatch.setattr(starting, "starting_application", failing_once(starting_application, calls))
    monkeypatch.setattr(composition, "open_storage", late(composition.open_storage))  # type: ignore[attr-defined]
    async with client_of() as client:
        assert calls
        assert client.service.supervisor.failures[OTHER] == 1
        assert (await client.ask("GET", "/readyz"))[0] == 200


def late(work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Return the same work, which begins after other tasks have had their turns."""

    async def begin(*given: Any, **more: Any) -> Any:
        await asyncio.sleep(1)
        return await work(*given, **more)

    return begin


async def a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalAttempts, "_make", failing_once(LocalAttempts._make, []))
    async with client_of() as client:
        for topic in ("first", "second"):
            await client.ask("POST", "/jobs", json={"publish": {"topic": topic, "data": 1}})
        await until(lambda: "second" in client.service.hub.topics)
        assert "first" not in client.service.hub.topics
        await until(lambda: "first" in client.service.hub.topics)


async def a_change_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = RemoteBench()
    job = await bench.run_job(delay=1000)
    monkeypatch.setattr(bench.store, "put", failing_once(bench.store.put, []))
    with pytest.raises(Odd):
        await bench.jobs.cancel(job.id)
    assert await bench.jobs.cancel(job.id) == (True, JobState.CANCELLED)
    await bench.jobs.close()


async def an_offer(monkeypatch: pytest.MonkeyPatch) -> None:
    bench, errors = RemoteBench(), reported()
    monkeypatch.setattr(bench.broker, "publish", failing_once(bench.broker.publish, []))
    job = await bench.run_job()
    assert (await bench.broker.task()).job == job.id
    assert errors == ["a job could not be carried out"]
    await bench.jobs.close()


async def the_output_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(output: SlotOutput) -> None:
        fail()
        await right(output)

    errors, right, fail = reported(), SlotOutput._read, failing_once(lambda: None, [])
    monkeypatch.setattr(SlotOutput, "_read", read)
    for complete in (False, True):
        output, printing = SlotOutput.open()
        os.write(printing, END)
        os.close(printing)
        assert await output.complete() == complete
        await output.close()
    assert errors == ["the output of a job could not be read"]


async def the_process_of_a_slot(_: pytest.MonkeyPatch) -> None:
    async def wait() -> None:
        ended()

    errors, ended = reported(), failing_once(lambda: None, [])
    output, printing = SlotOutput.open()
    os.close(printing)
    process, writer = SimpleNamespace(wait=wait, pid=1 << 22, returncode=0), SimpleNamespace(close=lambda: None)
    slot = SlotProcess(cast("Any", process), output, asyncio.StreamReader(), cast("Any", writer))
    await asyncio.sleep(1)
    await slot.kill()
    assert errors == ["the process of a job could not be watched"]


async def an_attempt_of_a_worker(_: pytest.MonkeyPatch) -> None:
    first, second = WorkerBench(), WorkerBench()
    first.functions.work = second.functions.work = failing_once(second.functions.work, [])
    for bench in (first, second):
        await bench.run()
    assert (first.last["event"], second.last["event"]) == ("failed", "done")


async def reports_of_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = WorkerBench()
    monkeypatch.setattr(bench.link, "report", failing_once(bench.link.report, []))
    with pytest.raises(Odd):
        await bench.run()
    await bench.run()
    assert bench.last["event"] == "done"


async def a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(*_: object) -> StepOutcome:
        answer()
        return StepOutcome((b'{"step":"digest"}',))

    answer = failing_once(lambda: None, [])
    monkeypatch.setattr(StepRunner, "run", run)
    async with client_of() as client:
        urls = [f"{client.origin}/bytes/{size}" for size in (1, 2)]
        _, document, _ = await client.batch({"urls": urls, "options": {"steps": [{"step": "digest"}]}})
        results = orjson.loads(document)["results"]
    assert sorted(one["event"] for one in results) == ["failed", "result"]


async def an_item(monkeypatch: pytest.MonkeyPatch) -> None:
    async def echo(value: int) -> int:
        fail()
        return value

    async def deliver(item: PipelineItem[int]) -> None:
        errors.append(item.error)

    errors: list[Exception | None] = []
    fail = failing_once(lambda: None, [])
    async with Pipeline([Stage(echo)], deliver) as pipeline:
        for value in (1, 2):
            await pipeline.put(value)
    assert [error is None for error in errors] == [False, True]


OTHERS: dict[str, Callable[[pytest.MonkeyPatch], Awaitable[None]]] = {
    "fetch": a_fetch,
    "handshake": a_handshake,
    "job": a_job,
    "job change": a_change_of_a_job,
    "job offer": an_offer,
    "job output": the_output_of_a_process,
    "job process": the_process_of_a_slot,
    "pipeline": an_item,
    "resolve": a_look_up,
    "robots": a_robots_txt,
    "step": a_body,
    "watch": a_poll,
    "worker attempt": an_attempt_of_a_worker,
    "worker reports": reports_of_a_worker,
    "log writer": the_log,
    "progress": the_bar,
    "slow bodies": slow_bodies,
    "stall check": the_stall_check,
    "starting": the_start,
}


@pytest.mark.parametrize("name", OTHERS)
async def test_work_that_raises_once_hurts_one_item(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await OTHERS[name](monkeypatch)


def test_all_work_of_the_table_was_made_to_raise() -> None:
    assert {*TIMERS, *SUPERVISED, *OTHERS} == set(BACKGROUND)
    assert {BACKGROUND[name] for name in TIMERS} == {OnFailure.CONTINUE}


async def test_a_timer_without_a_line_in_the_table_is_not_made() -> None:
    with pytest.raises(ValueError, match="unheard of"):
        Periodic("unheard of", 1.0, lambda: None)


async def test_a_timer_that_is_stopped_from_inside_stays_stopped() -> None:
    calls: list[int] = []

    def run() -> float:
        calls.append(1)
        timer.stop()
        return 1.0

    timer = Periodic("deadlines", 1.0, run)
    timer.start()
    timer.start()
    await asyncio.sleep(10)
    assert calls == [1]
