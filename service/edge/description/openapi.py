"""``/openapi.json`` (OpenAPI 3.1): the routes, with the schemas of the types that they read and answer with."""

from typing import Any, Final

import msgspec

from service import __version__
from service.core import events
from service.core.fetching.batch import BatchLimits, BatchRequest
from service.core.jobs.request import JobRequest, MoveRequest
from service.core.sessions.messages import SINCE, Broadcast, WatchRequest
from service.core.topics.names import NAME
from service.core.topics.topic import OnLag
from service.edge.description.job_operations import bound_jobs, job_paths
from service.edge.description.operations import (
    answer,
    header,
    json_answer,
    operation,
    path,
    query,
    refusals,
    stream,
    untagged,
)
from service.edge.description.schemas import components, ref
from service.work.answers import StepList, StepResults
from service.work.pipelines.declaration import PipelineList

__all__ = ["openapi"]

_KEY: Final = {"type": "string", "minLength": 1, "maxLength": 128}
_BATCH: Final = {"type": "string", "pattern": "^[^/]+$"}
_BATCH_HEADERS: Final = {"Sluice-Batch": {"type": "string"}, "Sluice-Epoch": {"type": "string"}}
_EVENTS: Final = (events.Result, events.Failed, events.Progress, events.Done)
_STEPS: Final = r'^\[\{"step":"digest"\}\]$'
"""An example: no pattern describes all lists."""
_STREAM: Final = [
    query("since", "where to start", {"type": "string", "pattern": SINCE}),
    query("on_lag", "what happens when the topic has moved past this reader", {"enum": [*OnLag]}),
    header(
        "Last-Event-ID",
        "where an EventSource was; wins over since, and counts as missing when it is empty",
        {"type": "string", "pattern": f"^$|{SINCE}"},
    ),
]


def openapi(limits: BatchLimits, *, token: bool) -> dict[str, Any]:
    """Return the document of a service with these limits, where clients need a token or not."""
    schemas = components(limits, Broadcast, JobRequest, MoveRequest)
    bound_jobs(schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sluice",
            "version": __version__,
            "description": "Topics, batches of URL fetches and watches for ten thousand clients. "
            "Every GET is answered as HEAD too, streams by their headers alone.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{"token": []}] if token else [{}, {"token": []}],
        "paths": {
            **_batches(limits),
            **_topics(),
            **_watches(),
            **_steps(),
            **_pipelines(),
            **job_paths(_STREAM),
            **_service(),
        },
        "components": {
            "schemas": schemas,
            "responses": refusals(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _batches(limits: BatchLimits) -> dict[str, Any]:
    batch = [path("id", "the id of a batch", _BATCH)]
    streamed = stream((*_EVENTS, events.Heartbeat), {"anyOf": [*map(ref, _EVENTS)]})
    links = {
        name: {"operationId": name, "parameters": {"id": "$response.header.Sluice-Batch"}}
        for name in ("batch", "batchEvents", "cancelBatch")
    }
    document = answer("every result", {"application/json": ref(events.BatchDocument), **streamed}, _BATCH_HEADERS)
    accepted = answer(
        "the batch has begun (respond-async)",
        {"application/json": ref(events.BatchStatus)},
        {
            **_BATCH_HEADERS,
            "Location": {"type": "string", "pattern": "^/batches/[^/]+$"},
            "Preference-Applied": {"const": "respond-async"},
        },
    )
    fetch = operation(
        "fetchBatch",
        f"Fetch up to {limits.urls:,} URLs; what is wrong with one of them is its own failure",
        {"200": document | {"links": links}, "202": accepted | {"links": links}},
        parameters=[
            header("Prefer", "respond-async answers at once (RFC 7240)", {"type": "string"}),
            header("Idempotency-Key", "makes a repetition join the first", _KEY),
            header(
                "traceparent", "W3C Trace Context; goes on to the upstreams, as does tracestate", {"type": "string"}
            ),
            header("X-Request-Id", "comes back with the answer and is in the log", {"type": "string"}),
        ],
        body=ref(BatchRequest),
    )
    state = {"200": json_answer("state and counts", events.BatchStatus)}
    cancelled = {"200": json_answer("what was left", events.Cancelled)}
    ended = {
        "200": answer("its events", streamed, _BATCH_HEADERS),
        "204": answer("all of it was received before", headers=_BATCH_HEADERS),
    }
    return {
        "/fetch-batch": {"post": fetch},
        "/batches/{id}": {
            "parameters": batch,
            "get": operation("batch", "How far a batch is", state, refused=(404,)),
            "delete": operation("cancelBatch", "Cancel a batch, which stays readable", cancelled, refused=(404,)),
        },
        "/batches/{id}/events": {
            "parameters": batch,
            "get": operation("batchEvents", "The events of a batch", ended, refused=(404, 422), parameters=_STREAM),
        },
    }


def _topics() -> dict[str, Any]:
    name = {"type": "string", "pattern": f"^{NAME.pattern}$"}
    topic = [path("name", "the slash before a last part `events` has to be written %2F", name)]
    key = [header("Idempotency-Key", "publishes once in 2 minutes", _KEY)]
    published = {"200": json_answer("where it stands", events.Published)}
    info = {"200": json_answer("its offsets", events.TopicInfo)}
    messages = {"200": answer("its messages", stream((events.Started, events.Gap, events.Heartbeat), {}))}
    many = {"200": json_answer("where it stands", events.PublishedMany)}
    return {
        "/topics/{name}": {
            "parameters": topic,
            "post": operation(
                "publish", "Publish the JSON body", published, refused=(404, 504), parameters=key, body={}
            ),
            "get": operation("topic", "Where a topic stands", info, refused=(404, 504)),
        },
        "/topics/{name}/events": {
            "parameters": topic,
            "get": operation(
                "topicEvents", "The messages of a topic", messages, refused=(404, 422, 504), parameters=_STREAM
            ),
        },
        "/publish": {
            "post": operation("publishMany", "Publish to many topics", many, refused=(504,), body=ref(Broadcast)),
        },
    }


def _watches() -> dict[str, Any]:
    changes = (events.WatchState, events.WatchChanged, events.WatchError, events.WatchRecovered)
    watch = msgspec.json.schema(WatchRequest)["$defs"]["WatchRequest"]["properties"]
    parameters = [
        query("url", "what to watch", watch["url"], required=True),
        query("every", "seconds", watch["every"], required=True),
        query("select", "a JSON Pointer or a CSS selector", watch["select"]["anyOf"][0]),
        query("steps", "a list of steps in JSON, like options.steps", {"type": "string", "pattern": _STEPS}),
        *_STREAM,
    ]
    data = [*map(ref, changes), untagged(events.Started), untagged(events.Gap)]
    streamed = stream((events.Started, events.Gap, *changes, events.Heartbeat), {"anyOf": data})
    return {
        "/watch": {
            "get": operation(
                "watch",
                "The events of a watched URL",
                {"200": answer("its states", streamed)},
                refused=(422,),
                parameters=parameters,
            )
        }
    }


def _pipelines() -> dict[str, Any]:
    name = path("name", "the name of the pipeline", {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"})
    switched = {"101": {"description": "binary messages are items, and text messages events: docs/pipelines.md"}}
    parameters = [
        query("to", "a topic that gets a line for each item", {"type": "string", "pattern": f"^{NAME.pattern}$"}),
        query("full", "what happens when the pipeline is full", {"enum": ["block", "drop_oldest"]}),
        *_upgrade(),
    ]
    listed = {"200": json_answer("each pipeline and its stages", PipelineList)}
    return {
        "/pipelines": {"get": operation("pipelines", "Which pipelines there are", listed)},
        "/pipelines/{name}": {
            "parameters": [name],
            "get": operation(
                "runPipeline", "Send items through a pipeline, over a WebSocket", switched,
                refused=(404, 422, 426), parameters=parameters, open_=True,
            ),
        },
    }  # fmt: skip


def _steps() -> dict[str, Any]:
    asked = query("steps", "the list of steps in JSON, like options.steps", {"type": "string"}, required=True)
    done = {"200": json_answer("the result of each step", StepResults)}
    listed = {"200": json_answer("each step and its parameters", StepList)}
    blob = path("sha256", "the SHA-256 of the blob", {"type": "string", "pattern": "^[0-9a-f]{64}$"})
    ranged = header("Range", "a range of its bytes", {"type": "string", "pattern": "^bytes=0-$"})
    content = {"*/*": {"type": "string", "format": "binary"}}
    whole = {"200": answer("all of it", content), "206": answer("the range", content)}
    return {
        "/steps": {
            "get": operation("steps", "Which steps there are", listed),
            "post": operation(
                "runSteps", "Run steps on the body, of any type", done,
                parameters=[asked], body={"type": "string", "format": "binary"}, body_type="*/*",
            ),
        },
        "/blobs/{sha256}": {
            "parameters": [blob],
            "get": operation(
                "blob", "A blob, which never changes", whole,
                refused=(404,), parameters=[ranged],
            ),
        },
    }  # fmt: skip


def _service() -> dict[str, Any]:
    return {
        "/ws": {"get": _socket()},
        "/healthz": {"get": operation("alive", "Whether the loop turns", _health("alive"), open_=True)},
        "/readyz": {"get": operation("ready", "Whether new clients are taken", _ready(), open_=True)},
        "/metrics": {"get": operation("metrics", "Figures for Prometheus", _text("text/plain"))},
        "/openapi.json": {"get": operation("openapi", "This document", _document(), open_=True)},
        "/asyncapi.json": {"get": operation("asyncapi", "The WebSocket's document", _document(), open_=True)},
        "/": {"get": operation("page", "The page", _text("text/html"), open_=True)},
    }


def _socket() -> dict[str, Any]:
    """Return the upgrade; credentials are judged after it, with a close code."""
    switched = {"101": {"description": "JSON-RPC 2.0 from here on, see /asyncapi.json"}}
    return operation("socket", "The WebSocket", switched, refused=(426,), parameters=_upgrade(), open_=True)


def _upgrade() -> list[dict[str, Any]]:
    """Return the headers of an upgrade (RFC 6455, section 4.2.1)."""
    return [
        header("Connection", "of an upgrade", {"const": "Upgrade"}, required=True),
        header("Upgrade", "of an upgrade", {"const": "websocket"}, required=True),
        header("Sec-WebSocket-Version", "of RFC 6455", {"const": "13"}, required=True),
        header(
            "Sec-WebSocket-Key",
            "16 random bytes",
            {"type": "string", "pattern": "^[0-9A-Za-z+/]{21}[AQgw]==$"},
            required=True,
        ),
        header(
            "Sec-WebSocket-Protocol",
            "sluice.v1",
            {"type": "string", "pattern": "^sluice\\.v1(, bearer\\.[!-~]+)?$"},
        ),
    ]


def _health(state: str) -> dict[str, Any]:
    return {"200": json_answer(state, events.Health)}


def _ready() -> dict[str, Any]:
    either = {"application/json": ref(events.Health), "application/problem+json": ref(events.Problem)}
    headers = {"Retry-After": {"type": "integer", "minimum": 1}, "Sluice-Reason": {"type": "string"}}
    draining = answer("it takes nobody now", either, headers)
    return {**_health("ready"), "503": draining}


def _document() -> dict[str, Any]:
    return {"200": answer("the document", {"application/json": {"type": "object"}})}


def _text(kind: str) -> dict[str, Any]:
    return {"200": answer("text", {kind: {"type": "string"}})}
