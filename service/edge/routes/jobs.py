"""Jobs over HTTP: ``/jobs``."""

import re
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from service.core.errors import InvalidParams
from service.core.jobs.answers import JobCancel, JobList
from service.core.jobs.job import Job
from service.core.jobs.request import JobRequest, MoveRequest
from service.core.jobs.summary import JobState
from service.core.parsing import convert
from service.core.topics.hub import Hub
from service.edge.access.credentials import GRANT, OWNER
from service.edge.http.answers import answer_of, json_answer
from service.edge.http.queries import STREAM, check_query
from service.edge.http.request_body import read_json, requested_key
from service.edge.routes.streams import stream_events
from service.jobs.jobs import Jobs
from service.jobs.views import accepted, viewed

__all__ = ["JobRoutes"]

T = TypeVar("T")
_LIMIT: Final = 50
_MOST: Final = 500
_CURSOR: Final = re.compile(r"[0-9a-f]{1,10}")
_STATES: Final = ", ".join(JobState)


class JobRoutes:
    """The handlers; ``add_to`` puts them into an application."""

    def __init__(self, hub: Hub, jobs: Jobs, *, body_size: int, body_time: float) -> None:
        self._hub = hub
        self._jobs = jobs
        self._body_size = body_size
        self._body_time = body_time

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_post("/jobs", self.accept)
        app.router.add_get("/jobs", self.list)
        app.router.add_get("/jobs/{id}", self.state)
        app.router.add_patch("/jobs/{id}", self.move)
        app.router.add_delete("/jobs/{id}", self.cancel)
        app.router.add_get("/jobs/{id}/events", self.events)

    async def accept(self, request: web.Request) -> web.Response:
        """Store a job; one that was made with this key before is answered with 200."""
        grant, owner = request[GRANT], request[OWNER]
        grant.jobs.check_any()
        value = await read_json(request, owner, self._body_size, self._body_time)
        asked = _with_key(convert(value, JobRequest), requested_key(request))
        job, new = await self._answer(self._jobs.accept(asked, owner, grant))
        headers = {"Location": f"/jobs/{job.id}"}
        if not self._jobs.durable:
            headers["Sluice-Durable"] = "?0"
        body = msgspec.json.encode(accepted(job, self._jobs.wall()))
        return web.Response(status=202 if new else 200, body=body, content_type="application/json", headers=headers)

    async def list(self, request: web.Request) -> web.Response:
        """Answer with the client's jobs, the newest first."""
        request[GRANT].jobs.check_any()
        check_query(request, ("state", "limit", "after"))
        jobs, after = await self._jobs.listed(request[OWNER], _state(request), _limit(request), _after(request))
        now = self._jobs.wall()
        views = [viewed(job, now, whole=False) for job in jobs]
        return json_answer(msgspec.json.encode(JobList(views, None if after is None else f"{after:x}")))

    async def state(self, request: web.Request) -> web.Response:
        """Answer with how far a job is."""
        return self._document(await self._answer(self._jobs.find(request.match_info["id"])))

    async def move(self, request: web.Request) -> web.Response:
        """Have a job run at another time, or once more."""
        value = await read_json(request, request[OWNER], self._body_size, self._body_time)
        asked = convert(value, MoveRequest)
        return self._document(await self._answer(self._jobs.move(request.match_info["id"], asked)))

    async def cancel(self, request: web.Request) -> web.Response:
        """Have a job never run, or stop."""
        cancelled, state = await self._answer(self._jobs.cancel(request.match_info["id"]))
        return json_answer(msgspec.json.encode(JobCancel(cancelled, state)))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream the events of a job."""
        check_query(request, STREAM)
        topic = await self._answer(self._jobs.topic(request.match_info["id"], request[OWNER]))
        return await stream_events(request, self._hub, topic)

    def _document(self, job: Job) -> web.Response:
        return json_answer(msgspec.json.encode(viewed(job, self._jobs.wall())))

    async def _answer(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for the answer as long as a client waits for the store; what has begun goes on."""
        return await answer_of(self._jobs.answer(lambda _: work))


def _with_key(asked: JobRequest, key: str | None) -> JobRequest:
    """Return the request with the key of ``Idempotency-Key``, where it has none itself."""
    if key is None or asked.key == key:
        return asked
    if asked.key is not None:
        raise InvalidParams("key: differs from Idempotency-Key")
    return msgspec.structs.replace(asked, key=key)


def _state(request: web.Request) -> JobState | None:
    name = request.query.get("state")
    if name is None:
        return None
    try:
        return JobState(name)
    except ValueError:
        raise InvalidParams(f"state: one of {_STATES}") from None


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", str(_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= _MOST):
        raise InvalidParams(f"limit: 1 to {_MOST}")
    return int(text)


def _after(request: web.Request) -> int | None:
    text = request.query.get("after")
    if text is None:
        return None
    if not _CURSOR.fullmatch(text):
        raise InvalidParams("after: give the value of next from the previous page")
    return int(text, 16)
