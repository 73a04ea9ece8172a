"""Attempts of jobs that Celery workers make: claimed and reported on, with the token of the attempt alone."""

from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import hdrs, web

from service.core.errors import InvalidParams, NotFound, ParseError, Unauthorized
from service.core.jobs.reports import Claim, Report
from service.edge.access.credentials import OWNER, bearer
from service.edge.http.answers import answer_of, json_answer
from service.edge.http.request_body import check_json, read_body
from service.jobs.jobs import Jobs
from service.jobs.remote_attempts import RemoteAttempts

__all__ = ["AttemptRoutes"]

T = TypeVar("T")
_SIZE: Final = 3 << 20
"""Bytes of a report: a result or progress has at most 1 MiB."""


class AttemptRoutes:
    """The handlers; ``add_to`` puts them into an application."""

    def __init__(self, jobs: Jobs, *, body_time: float) -> None:
        self._jobs = jobs
        self._body_time = body_time

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_post("/jobs/{id}/attempts/{attempt}/claim", self.claim)
        app.router.add_post("/jobs/{id}/attempts/{attempt}/events", self.report)

    async def claim(self, request: web.Request) -> web.Response:
        """Answer with what is to be done, or refuse."""
        remote, token = self._remote(), _token(request)
        claim = await self._read(request, Claim)
        return await self._answer(remote.claim(request.match_info["id"], _attempt(request), token, claim))

    async def report(self, request: web.Request) -> web.Response:
        """Take in events of a worker."""
        remote, token = self._remote(), _token(request)
        report = await self._read(request, Report)
        return await self._answer(remote.report(request.match_info["id"], _attempt(request), token, report))

    def _remote(self) -> RemoteAttempts:
        if self._jobs.remote is None:
            raise NotFound("this service has no Celery workers; its operator adds them with --celery")
        return self._jobs.remote

    async def _read(self, request: web.Request, kind: type[T]) -> T:
        check_json(request)
        text = await read_body(request, request[OWNER], _SIZE, self._body_time)
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.ValidationError as error:
            raise InvalidParams(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ParseError(f"the body is not JSON: {error}") from None

    async def _answer(self, work: Coroutine[Any, Any, msgspec.Struct]) -> web.Response:
        """Wait for the store; what has begun goes on, and a worker asks again."""
        return json_answer(msgspec.json.encode(await answer_of(self._jobs.answer(lambda _: work))))


def _token(request: web.Request) -> str:
    token = bearer(request)
    if not token:
        raise Unauthorized(f"{hdrs.AUTHORIZATION}: the token of the attempt is needed")
    return token


def _attempt(request: web.Request) -> int:
    text = request.match_info["attempt"]
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise NotFound("the attempt does not exist")
    return int(text)
