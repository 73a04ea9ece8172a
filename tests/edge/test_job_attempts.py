"""The routes for workers, in the whole service: who may use them, and what they answer to what is wrong."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.app import composition
from service.edge.routes import job_attempts
from service.jobs.broker import TaskMessage
from tests.edge.running import Client, client_of
from tests.jobs.remote import FakeBroker, Functions

CLAIM = {"claim": "c" * 32, "worker": "celery@w"}


def path_of(task: TaskMessage, act: str) -> str:
    return f"/jobs/{task.job}/attempts/{task.attempt}/{act}"


@asynccontextmanager
async def with_task(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> AsyncIterator[tuple[Client, TaskMessage]]:
    """Yield a client of a service that has offered an attempt."""
    broker = FakeBroker()

    async def open_slots(*_: object) -> Functions:
        return Functions()

    monkeypatch.setattr(composition, "open_broker", lambda url: broker)
    monkeypatch.setattr(composition, "open_slots", open_slots)
    async with client_of(token="secret-token", **settings) as client:
        status, made, _ = await client.ask(
            "POST",
            "/jobs",
            json={"run": {"name": "add", "args": [1, 2]}},
            headers={"Authorization": "Bearer secret-token"},
        )
        assert status == 202, made
        yield client, await broker.task()


async def test_the_token_of_the_attempt_is_all_that_a_worker_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_task(monkeypatch) as (client, task):
        headers = {"Authorization": f"Bearer {task.token}"}
        status, claimed, _ = await client.ask("POST", path_of(task, "claim"), json=CLAIM, headers=headers)
        assert (status, claimed["name"], claimed["args"]) == (200, "add", [1, 2])
        events = {"first": 1, "events": [{"event": "progress", "done": 1}, {"event": "done", "result": 3}]}
        status, reported, _ = await client.ask("POST", path_of(task, "events"), json=events, headers=headers)
        assert (status, reported) == (200, {"next": 3, "stop": False})
        status, problem, _ = await client.ask("POST", path_of(task, "events"), json=events, headers=headers)
        assert (status, problem["reason"]) == (409, "invalid_params")
        view = (await client.ask("GET", f"/jobs/{task.job}", headers={"Authorization": "Bearer secret-token"}))[1]
        assert (view["state"], view["result"]) == ("done", 3)


async def test_any_other_token_gets_nothing_and_that_of_an_attempt_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with with_task(monkeypatch) as (client, task):
        for headers, expected in (
            ({}, 401), ({"Authorization": "Bearer "}, 401), ({"Authorization": "Bearer wrong"}, 409),
            ({"Authorization": "Bearer secret-token"}, 409),
        ):  # fmt: skip
            for act, body in (("claim", CLAIM), ("events", {"first": 1})):
                assert (await client.ask("POST", path_of(task, act), json=body, headers=headers))[0] == expected
        theirs = {"Authorization": f"Bearer {task.token}"}
        for method, path in (
            ("GET", "/jobs"), ("GET", f"/jobs/{task.job}"), ("DELETE", f"/jobs/{task.job}"), ("GET", "/topics/t"),
            ("GET", f"/jobs/{task.job}%2Fattempts%2F1%2Fclaim"), ("GET", path_of(task, "claim")[:-1]),
        ):  # fmt: skip
            assert (await client.ask(method, path, headers=theirs))[0] in (401, 404), path
            if "%2F" in path:
                assert (await client.ask(method, path))[0] == 401


@pytest.mark.parametrize(
    ("act", "body", "status"),
    [
        ("claim", b"{", 400),
        ("claim", b'{"claim":"\xff"}', 400),
        ("claim", b"[]", 422),
        ("claim", b'{"claim":"short","worker":"w"}', 422),
        ("events", b"", 400),
        ("events", b"[" * 100_000, 422),
        ("events", b'{"first":1,"events":[{"event":"nonsense"}]}', 422),
        ("events", b'{"first":1.5}', 422),
        ("events", b" " * (1 << 20), 413),
    ],
)
async def test_what_no_worker_sends_is_refused_by_name(
    act: str, body: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_attempts, "_SIZE", 1000 << 10)
    async with with_task(monkeypatch) as (client, task):
        headers = {"Authorization": f"Bearer {task.token}", "Content-Type": "application/json"}
        answered, problem, _ = await client.ask("POST", path_of(task, act), data=body, headers=headers)
        assert answered == status, problem
        answered, _, _ = await client.ask(
            "POST", path_of(task, act), data=body, headers={**headers, "Content-Type": "text/plain"}
        )
        assert answered == 415
        for attempt in ("0", "x", "-1", "9" * 30, "1.0"):
            path = f"/jobs/{task.job}/attempts/{attempt}/claim"
            assert (await client.ask("POST", path, json=CLAIM, headers=headers))[0] in (404, 409)


async def test_a_service_without_workers_has_no_such_attempts() -> None:
    async with client_of() as client:
        for act in ("claim", "events"):
            path = f"/jobs/1-{'0' * 32}/attempts/1/{act}"
            status, problem, _ = await client.ask("POST", path, json=CLAIM, headers={"Authorization": "Bearer x"})
            assert (status, problem["reason"]) == (404, "not_found")
            assert "--celery" in problem["detail"]
