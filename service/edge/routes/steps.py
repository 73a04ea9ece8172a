"""Steps on an uploaded body, what steps there are, and the blobs that come of them."""

from typing import Any, Final

import msgspec
import orjson
from aiohttp import hdrs, web

from service.core.errors import InvalidParams, NotFound, ParseError, SluiceError, StorageFailed
from service.core.parsing import parse
from service.edge.access.credentials import GRANT, OWNER
from service.edge.http.answers import json_answer
from service.edge.http.file_with_range import FileWithRange
from service.edge.http.queries import check_query
from service.edge.http.request_body import read_body
from service.runtime.threads import call_in_thread
from service.work.answers import StepDescription, StepList
from service.work.builtin.count import summary_of
from service.work.step import STEPS, Body, plan, schema_of
from service.work.step_runner import StepRunner

__all__ = ["StepRoutes"]

_FOR_EVER: Final = "private, max-age=31536000, immutable"
"""A blob is named by its content."""


class StepStopped(SluiceError):
    """A step was not carried out; its name and the results of the steps before it come along."""

    def __init__(self, detail: str, step: str, results: tuple[bytes, ...]) -> None:
        super().__init__(detail)
        self._step = step
        self._results = results

    def data(self) -> dict[str, Any]:
        """Return what a problem document has beside its detail."""
        return {**super().data(), "step": self._step, "steps": [orjson.Fragment(one) for one in self._results]}


class StepRejected(StepStopped):
    """The body is not one that a step can process."""

    code, reason, status = InvalidParams.code, "step_failed", 422


class StepNotStored(StepStopped, StorageFailed):
    """What a step made cannot be kept now."""


class StepRoutes:
    """The handlers; ``add_to`` puts them into an application."""

    def __init__(self, steps: StepRunner, *, body_size: int, body_time: float) -> None:
        self._steps = steps
        self._body_size = body_size
        self._body_time = body_time

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/steps", self.list)
        app.router.add_post("/steps", self.run)
        app.router.add_get("/blobs/{sha256:[0-9a-f]+}", self.blob)

    async def list(self, request: web.Request) -> web.Response:
        """Answer with all steps and the schemas of their parameters."""
        steps = sorted(STEPS.values(), key=lambda one: one.name)
        listed = StepList([StepDescription(one.name, schema_of(one.parameters), one.runs) for one in steps])
        return json_answer(msgspec.json.encode(listed))

    async def run(self, request: web.Request) -> web.Response:
        """Run steps on the body of the request, of any type; ``?steps=`` is the list as JSON."""
        request[GRANT].fetch.check_any()
        check_query(request, ("steps",))
        steps = plan(_given(request), blobs=self._steps.blobs is not None)
        data = await read_body(request, request[OWNER], self._body_size, self._body_time)
        self._steps.check(request[OWNER], len(data))
        body = Body(data, request.headers.get(hdrs.CONTENT_TYPE), "")
        outcome = await self._steps.run(steps, body, request[OWNER])
        if outcome.failed is not None:
            detail = f"{outcome.failed}: {outcome.detail}"
            kind = StepNotStored if outcome.error == "storage" else StepRejected
            raise kind(detail, outcome.failed, outcome.results)
        answer: dict[str, Any] = {"steps": [orjson.Fragment(one) for one in outcome.results]}
        if outcome.tally:
            answer["counts"] = summary_of(steps, outcome.tally)
        return json_answer(orjson.dumps(answer))

    async def blob(self, request: web.Request) -> web.StreamResponse:
        """Answer with a blob, or a range of it (RFC 9110, section 14)."""
        request[GRANT].fetch.check_any()
        blobs = self._steps.blobs
        blob = await call_in_thread(None, blobs.find, request.match_info["sha256"]) if blobs is not None else None
        if blob is None:
            raise NotFound("the blob does not exist or was removed")
        headers = {
            hdrs.CONTENT_TYPE: blob.type,
            hdrs.CONTENT_DISPOSITION: f'attachment; filename="{blob.sha256}"',
            hdrs.CACHE_CONTROL: _FOR_EVER,
        }
        answer = FileWithRange(blob.path, headers)
        await answer.prepare(request)
        return answer


def _given(request: web.Request) -> Any:
    text = request.query.get("steps")
    if text is None:
        raise InvalidParams('steps: give the list as JSON, such as ?steps=[{"step":"digest"}]')
    try:
        return parse(text.encode())
    except ParseError as error:
        raise InvalidParams(f"steps: {error.detail}") from None
