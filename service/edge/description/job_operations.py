"""The routes of jobs, for ``/openapi.json``."""

from collections.abc import Sequence
from typing import Any, Final

from service.core import events
from service.core.jobs import answers
from service.core.jobs.request import KINDS, METHODS, SENT_KEY, JobRequest, MoveRequest
from service.core.jobs.summary import JobState
from service.core.topics.names import NAME
from service.edge.description.operations import answer, json_answer, operation, path, query, stream
from service.edge.description.schemas import ref

__all__ = ["bound_jobs", "job_paths"]

_EVENTS: Final = (
    answers.JobQueued, answers.JobStarted, answers.JobProgress, answers.JobRetry, answers.JobRescheduled,
    answers.JobDone, answers.JobFailed, answers.JobCancelled,
)  # fmt: skip
_GIVEN: Final = {"not": {"type": "null"}}
_EPOCH: Final = {"Sluice-Epoch": {"type": "string"}}


def job_paths(streaming: list[Any]) -> dict[str, Any]:
    """Return the routes; ``streaming`` are the parameters of every stream."""
    job = [path("id", "the id of a job", {"type": "string", "pattern": "^[^/]+$"})]
    location = {"Location": {"type": "string", "pattern": "^/jobs/[^/]+$"}}
    made = {"application/json": ref(answers.JobAccepted)}
    accepted = {
        "202": answer("it is kept, and carried out when it is due", made, location),
        "200": answer("the job that was made with this key before", made, location),
    }
    view = {"200": json_answer("how far it is", answers.JobView)}
    listed = {"200": json_answer("the client's jobs, the newest first", answers.JobList)}
    cancelled = {"200": json_answer("whether it had not ended", answers.JobCancel)}
    streamed = stream((*_EVENTS, events.Heartbeat), {"anyOf": [*map(ref, _EVENTS)]})
    read = {
        "200": answer("its events", streamed, _EPOCH),
        "204": answer("all of it was received before", headers=_EPOCH),
    }
    pages = [
        query("state", "jobs in this state alone", {"enum": [*JobState]}),
        query("limit", "jobs in one list", {"type": "integer", "minimum": 1, "maximum": 500}),
        query("after", "what the list before had as next", {"type": "string", "pattern": "^[0-9a-f]{1,10}$"}),
    ]
    return {
        "/jobs": {
            "post": operation(
                "makeJob", "Have work done, now or later", accepted, refused=(404, 504), body=ref(JobRequest)
            ),
            "get": operation("jobs", "The client's jobs", listed, refused=(422,), parameters=pages),
        },
        "/jobs/{id}": {
            "parameters": job,
            "get": operation("job", "How far a job is", view, refused=(404, 504)),
            "patch": operation(
                "moveJob", "Have a job run at another time, or once more", view, refused=(404, 409, 504),
                body=ref(MoveRequest),
            ),
            "delete": operation("cancelJob", "Cancel a job, which stays readable", cancelled, refused=(404, 504)),
        },
        "/jobs/{id}/events": {
            "parameters": job,
            "get": operation(
                "jobEvents", "The events of a job", read, refused=(404, 422, 504), parameters=streaming
            ),
        },
    }  # fmt: skip


def bound_jobs(schemas: dict[str, Any]) -> None:
    """Add what ``kind_of`` and ``due_of`` see to, to schemas in which batches are bounded already."""
    job, move = schemas["JobRequest"], schemas["MoveRequest"]
    at_most_one = {"not": {"required": ["delay", "at"], "properties": {"delay": _GIVEN, "at": _GIVEN}}}
    job["oneOf"] = [_alone(kind, KINDS) for kind in KINDS]
    job["oneOf"][KINDS.index("call")]["properties"]["key"] = {"pattern": f"^({SENT_KEY.pattern})$"}
    job["allOf"] = [at_most_one]
    move["oneOf"] = [_alone(name, ("delay", "at")) for name in ("delay", "at")]
    call, fetch = schemas["CallWork"], schemas["FetchWork"]
    call["properties"]["method"]["enum"] = [*METHODS]
    call["properties"]["url"]["pattern"] = "^[Hh][Tt][Tt][Pp][Ss]?://"
    call["properties"]["headers"] = schemas["Options"]["properties"]["headers"]
    call["not"] = {
        "required": ["method", "body"],
        "properties": {"method": {"enum": ["GET", "HEAD"]}, "body": _GIVEN},
    }
    fetch["oneOf"] = schemas["BatchRequest"]["oneOf"]
    for name in ("urls", "requests"):
        fetch["properties"][name] = schemas["BatchRequest"]["properties"][name]
    schemas["PublishWork"]["properties"]["topic"] |= {"pattern": f"^{NAME.pattern}$"}


def _alone(name: str, among: Sequence[str]) -> dict[str, Any]:
    """Return the schema of an object that has one of these members, and no other of them."""
    others = {other: {"type": "null"} for other in among if other != name}
    return {"required": [name], "properties": {name: _GIVEN, **others}}
