"""The cases of tests/vectors/clients: what a client does, step by step, which the JavaScript client does as well."""

import asyncio
import base64
import datetime
import decimal
import re
import time
from collections.abc import AsyncIterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.client import (
    Client,
    ClientClosed,
    ClientError,
    Gap,
    Job,
    JobError,
    Message,
    Position,
    Restart,
    State,
    Unanswered,
)
from tests.client.model import timers
from tests.client.scripted import Peer, Scripted, scripted

FOLDER = Path(__file__).parent.parent / "vectors" / "clients"


def cases() -> list[Any]:
    import json  # orjson refuses half a surrogate pair, which some cases are about

    return [
        pytest.param(case, id=f"{path.stem}: {case['name']}")
        for path in sorted(FOLDER.glob("*.json"))
        for case in json.loads(path.read_text())
    ]


def strange(kind: str, value: dict[str, Any]) -> Any:
    """Return what JSON cannot say."""
    if kind == "circular":
        circular: list[Any] = []
        circular.append(circular)
        return circular
    if kind == "deep":
        deep: Any = 1
        for _ in range(1200):
            deep = [deep]
        return deep
    if kind == "in":
        return time.time() + value["seconds"]
    return {
        "long": "x" * 70_000, "nan": float("nan"), "infinity": float("inf"), "foreign": b"bytes", "raising": object(), "function": print,
        "map": {1, 2}, "boxed": {1: 2}, "decimal": decimal.Decimal(1), "date": datetime.datetime.now(datetime.UTC),
        "bytes": bytearray(2), "pattern": re.compile("x"),
    }[kind]  # fmt: skip


def made(value: Any) -> Any:
    """Return an argument as the case means it."""
    if isinstance(value, dict):
        return strange(value["$"], value) if "$" in value else {name: made(item) for name, item in value.items()}
    return [made(item) for item in value] if isinstance(value, list) else value


def token_of(reported: Any) -> Any:
    """Return a token; one that expires is signed by nobody."""
    if not isinstance(reported, dict):
        return reported
    claims = orjson.dumps({"exp": round(time.time()) + reported["expires"], "name": reported["name"]})
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.x"


def shown(token: str | None) -> Any:
    """Return what a token is called in a case."""
    if token is None or token.count(".") != 2:
        return token
    body = token.split(".")[1]
    return orjson.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["name"]


class Function:
    """A function of tokens, as the case lists them."""

    def __init__(self, reported: list[Any]) -> None:
        self.left = reported

    def __call__(self) -> Any:
        reported = self.left[0]
        self.left = self.left[1:] or self.left
        if isinstance(reported, dict) and "raises" in reported:
            raise RuntimeError("no token")
        return token_of(reported)


class Run:
    """One case: the client, the service, and the outcomes of the calls."""

    def __init__(self, case: dict[str, Any], service: Scripted) -> None:
        token = case.get("token")
        self.case = case
        self.service = service
        self.states: list[State] = []
        self.unread: list[State] = []
        self.calls: dict[str, asyncio.Task[Any]] = {}
        self.items: dict[str, asyncio.Queue[Any]] = {}
        self.peer: Peer
        self.frames: asyncio.Queue[Any] = asyncio.Queue()
        self.asked: list[Any] = []
        self.reading: asyncio.Task[None] | None = None
        self.client = Client(
            service.url,
            token=Function(token["function"]) if isinstance(token, dict) else token,
            on_state=self._on_state,
        )

    def _on_state(self, state: State) -> None:
        self.states.append(state)
        self.unread.append(state)
        if self.case.get("listener") == "raises":
            raise RuntimeError("a listener that raises")

    async def step(self, step: dict[str, Any]) -> None:
        name = next(iter(step))
        await getattr(self, f"do_{name}")(**{**step, name: step[name]})

    async def do_connects(self, connects: Any, token: Any = None) -> None:
        self.peer = await asyncio.wait_for(self.service.waiting.get(), 700)
        self.peer.mute = self.case.get("mute", False)
        if token is not None:
            assert shown(self.peer.token) == (token["name"] if isinstance(token, dict) else token)
        if isinstance(connects, int):
            self.peer.answer(connects)
        elif connects == "refuse":
            self.peer.cut()
            # aiohttp asks a second time at once.
            (await asyncio.wait_for(self.service.waiting.get(), 1)).cut()
        elif connects == "accept":
            self.peer.accept()
            self.frames = asyncio.Queue()
            self.reading = asyncio.create_task(self._read(self.peer, self.frames))
            while not self.states or self.states[-1].state != "open":
                await asyncio.sleep(0.001)

    async def _read(self, peer: Peer, frames: asyncio.Queue[Any]) -> None:
        try:
            while True:
                frames.put_nowait(await peer.receive())
        except ConnectionError:
            pass

    async def do_asks(self, asks: str, params: dict[str, Any] | None = None, again: bool = False) -> None:
        frame = await self._frame(asks, params or {})
        assert frame.get("id") is not None, frame
        assert not again or frame["params"] == self.asked[-1]["params"], frame
        self.asked.append(frame)

    async def do_tells(self, tells: str, params: dict[str, Any] | None = None) -> None:
        assert "id" not in await self._frame(tells, params or {})

    async def _frame(self, method: str, params: dict[str, Any]) -> Any:
        frame = await asyncio.wait_for(self.frames.get(), 100)
        assert frame["method"] == method, frame
        for name, value in params.items():
            had = frame["params"].get(name)
            assert (
                (shown(had), value["name"]) == (value["name"],) * 2
                if name == "token" and isinstance(value, dict)
                else had == value
            ), frame
        return frame

    async def do_quiet(self, quiet: float) -> None:
        await asyncio.sleep(quiet)
        assert self.frames.empty(), self.frames.get_nowait()

    async def do_answers(self, answers: Any) -> None:
        self.peer.send({"id": self.asked[-1]["id"], "result": made(answers)})

    async def do_says(self, says: dict[str, Any]) -> None:
        self.peer.send({"id": self.asked[-1]["id"], **says})

    async def do_refuses(self, refuses: Any, **more: Any) -> None:
        self.peer.send({"id": more.get("id", self.asked[-1]["id"]), "error": refuses})

    async def do_sends(self, sends: Any) -> None:
        self.peer.send(sends)

    async def do_closes(self, closes: int, reason: str = "") -> None:
        await asyncio.sleep(0.01)
        self.peer.close(closes, reason)
        await self._gone()

    async def do_cuts(self, cuts: bool) -> None:
        await asyncio.sleep(0.01)
        self.peer.cut()
        await self._gone()

    async def _gone(self) -> None:
        while self.states[-1].state not in ("waiting", "closed", "connecting"):
            await asyncio.sleep(0.001)

    async def do_calls(self, calls: str, **more: Any) -> None:
        args, options, name = made(more.get("args", [])), made(more.get("options", {})), more["as"]
        options = {{"onLag": "on_lag"}.get(option, option): value for option, value in options.items()}
        if calls in ("job_result", "job_cancel"):
            call = getattr(self.client.follow_job(*args), calls.removeprefix("job_"))
            self.calls[name] = asyncio.create_task(call())
        elif calls in ("subscribe", "fetch", "watch", "follow_job"):
            self.items[name] = asyncio.Queue()
            stream = getattr(self.client, calls)(*args, **options)
            self.calls[name] = asyncio.create_task(self._loop(stream, self.items[name]))
        else:
            self.calls[name] = asyncio.create_task(getattr(self.client, calls)(*args, **options))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _loop(self, values: AsyncIterable[Any], items: asyncio.Queue[Any]) -> None:
        async for value in values:
            items.put_nowait(value)

    async def do_leaves(self, leaves: str) -> None:
        await asyncio.sleep(0.01)
        self.calls[leaves].cancel()
        await asyncio.gather(self.calls[leaves], return_exceptions=True)

    async def do_settles(self, settles: str, **more: Any) -> None:
        answer = await asyncio.wait_for(self.calls[settles], 1)
        if isinstance(answer, Position | Job):
            answer = {field: getattr(answer, field) for field in more.get("with", ())}
        assert "with" not in more or answer == more["with"]

    async def do_rejects(self, rejects: str, **why: Any) -> None:
        with pytest.raises(ClientError) as raised:
            await asyncio.wait_for(self.calls[rejects], 1)
        self._why(raised.value, **why)

    def _why(
        self, error: Exception, reason: str = "", naming: str = "", code: int = 0, closed: bool = False
    ) -> None:
        assert isinstance(error, ClientClosed) == closed
        if isinstance(error, JobError):
            assert (reason, naming) == (error.state, error.detail)
            return
        assert reason == ("unanswered" if isinstance(error, Unanswered) else reason and error.reason)  # type: ignore[attr-defined]
        assert code == (code and error.code)  # type: ignore[attr-defined]
        assert naming in str(error)

    async def do_waits_for(self, waits_for: str) -> None:
        await asyncio.sleep(0.01)
        assert not self.calls[waits_for].done()

    async def do_items(self, items: str, are: list[Any]) -> None:
        got = [await asyncio.wait_for(self.items[items].get(), 1) for _ in are]
        assert [self._item(value, like) for value, like in zip(got, are, strict=True)] == are

    def _item(self, value: Any, like: Any) -> Any:
        match value:
            case Message():
                return [value.offset, value.data]
            case Gap():
                return {"gap": [value.first, value.last]}
            case Restart():
                return {"restart": [value.epoch, value.offset]}
        return {name: value.raw.get(name) for name in like}

    async def do_ends(self, ends: str, **why: Any) -> None:
        await asyncio.wait([self.calls[ends]], timeout=1)
        assert self.calls[ends].done()
        assert self.items[ends].empty(), self.items[ends].get_nowait()
        if why:
            error = self.calls[ends].exception()
            assert isinstance(error, Exception)
            self._why(error, **why)
        elif not self.calls[ends].cancelled():
            self.calls[ends].result()

    async def do_passes(self, passes: float) -> None:
        await asyncio.sleep(passes)

    async def do_state(self, state: str, code: int | None = None, after: list[float] | None = None) -> None:
        async with asyncio.timeout(100):
            while not (found := [reported for reported in self.unread if reported.state == state]):
                await asyncio.sleep(0.01)
        del self.unread[: self.unread.index(found[0]) + 1]
        assert code in (None, found[0].code), found[0]
        if after:
            assert found[0].after is not None
            assert after[0] <= found[0].after <= after[1], found[0]

    async def do_states(self, states: list[str]) -> None:
        assert [reported.state for reported in self.states] == states


@pytest.mark.parametrize("case", cases())
async def test_a_case(case: dict[str, Any]) -> None:
    before = asyncio.all_tasks()
    async with scripted() as service:
        run = Run(case, service)
        async with run.client:
            for number, step in enumerate(case["steps"]):
                try:
                    await run.step(step)
                except (AssertionError, TimeoutError) as error:
                    raise AssertionError(f"step {number}: {step}: {error}") from error
        assert not timers()
        ended = await asyncio.gather(*run.calls.values(), return_exceptions=True)
        assert len(ended) == len(run.calls), "every call settles and every loop ends"
        if run.reading is not None:
            await asyncio.wait_for(run.reading, 10)
        for peer in service.peers:
            await asyncio.wait_for(peer.ended(), 10)
    assert run.states[-1].state == "closed"
    left = {task for task in asyncio.all_tasks() - before if "scripted" not in repr(task)}
    assert left == set()
