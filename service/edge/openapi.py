"""``/openapi.json`` (OpenAPI 3.1): the routes, with the schemas of the types that they read and answer with."""

from typing import Any, Final

import msgspec

from service import __version__
from service.core import events
from service.core.batch import BatchRequest
from service.core.messages import Broadcast
from service.core.reader import OnLag

__all__ = ["ANSWERS", "components", "openapi"]

REF: Final = "#/components/schemas/{name}"
ANSWERS: Final[tuple[type, ...]] = (
    events.Result, events.Failed, events.Done, events.Started, events.Gap, events.Heartbeat, events.WatchState,
    events.WatchChanged, events.WatchError, events.WatchRecovered, events.BatchDocument, events.BatchState,
    events.Published, events.PublishedMany, events.TopicInfo, events.Cancelled, events.Health, events.Problem,
)  # fmt: skip
_KEY: Final = {"type": "string", "minLength": 1, "maxLength": 128}
_POSITION: Final = {"type": "string", "pattern": "^(newest|oldest|[^:]+:[0-9]{1,15})$"}


def components(*more: Any) -> dict[str, Any]:
    """Return the schemas by name. What we answer with may get further fields; what we read may not."""
    _, schemas = msgspec.json.schema_components([*ANSWERS, *more], ref_template=REF)
    _, read = msgspec.json.schema_components(list(more), ref_template=REF)
    for name in schemas.keys() - read.keys():
        schemas[name].pop("additionalProperties", None)
    return schemas


def openapi() -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sluice",
            "version": __version__,
            "description": "Topics, batches of URL fetches and watches for ten thousand clients.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{}, {"token": []}],
        "paths": _paths(),
        "components": {
            "schemas": components(BatchRequest, Broadcast),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _paths() -> dict[str, Any]:
    return {**_batches(), **_topics(), **_watches(), **_service()}


def _batches() -> dict[str, Any]:
    batch = [_path("id", "the id of a batch", r"^[^/]+$")]
    events = _streams("Result", "Failed", "Done", "Heartbeat")
    answers = {
        "200": _answer("every result", {"application/json": _ref("BatchDocument"), **events}),
        "202": _json("the batch has begun (respond-async)", "BatchState"),
    }
    parameters = [
        _header("Prefer", {"type": "string"}, "respond-async answers at once"),
        _header("Idempotency-Key", _KEY, "makes a repetition join the first"),
        _header(
            "traceparent", {"type": "string"}, "W3C Trace Context; goes on to the upstreams, as does tracestate"
        ),
        _header("X-Request-Id", {"type": "string"}, "comes back with the answer and is in the log"),
    ]
    body = _ref("BatchRequest")
    ended = {"200": _answer("its events", events), "204": {"description": "all of it was had before"}}
    return {
        "/fetch-batch": {
            "post": _operation("fetchBatch", "Fetch up to 10,000 URLs", answers, parameters=parameters, body=body)
        },
        "/batches/{id}": {
            "parameters": batch,
            "get": _operation("batch", "How far a batch is", {"200": _json("state and counts", "BatchState")}),
            "delete": _operation("cancelBatch", "Cancel a batch", {"200": _json("what was left", "Cancelled")}),
        },
        "/batches/{id}/events": {
            "parameters": batch,
            "get": _operation("batchEvents", "The events of a batch", ended, parameters=_STREAM),
        },
    }


def _topics() -> dict[str, Any]:
    topic = [_path("name", "1 to 255 printable ASCII characters without space and *", r"^[!-)+-~]{1,255}$")]
    key = [_header("Idempotency-Key", _KEY, "publishes once in 2 minutes")]
    published = {"200": _json("where it stands", "Published")}
    messages = {"200": _answer("its messages", _streams("Started", "Gap", "Heartbeat"))}
    many = {"200": _json("where it stands", "PublishedMany")}
    return {
        "/topics/{name}": {
            "parameters": topic,
            "post": _operation("publish", "Publish the JSON body", published, parameters=key, body={}),
            "get": _operation("topic", "Where a topic stands", {"200": _json("its offsets", "TopicInfo")}),
        },
        "/topics/{name}/events": {
            "parameters": topic,
            "get": _operation("topicEvents", "The messages of a topic", messages, parameters=_STREAM),
        },
        "/publish": {
            "post": _operation("publishMany", "Publish to many topics", many, body=_ref("Broadcast")),
        },
    }


def _watches() -> dict[str, Any]:
    states = _streams("WatchState", "WatchChanged", "WatchError", "WatchRecovered", "Gap")
    url = {"type": "string", "minLength": 1, "maxLength": 2048}
    every = {"type": "number", "minimum": 1, "maximum": 86_400}
    select = {"type": "string", "minLength": 1, "maxLength": 1024}
    parameters = [
        _query("url", url, "what to watch", required=True),
        _query("every", every, "seconds", required=True),
        _query("select", select, "a JSON Pointer or a CSS selector"),
        *_STREAM,
    ]
    answers = {"200": _answer("its states", states)}
    return {"/watch": {"get": _operation("watch", "What becomes of a URL", answers, parameters=parameters)}}


def _service() -> dict[str, Any]:
    switched = {"101": {"description": "JSON-RPC 2.0 from here on"}}
    health = {"200": _json("it is", "Health"), "503": _json("it takes nobody now", "Health")}
    document = {"200": _answer("the document", {"application/json": {"type": "object"}})}
    return {
        "/ws": {"get": _operation("socket", "The WebSocket, see /asyncapi.json", switched)},
        "/healthz": {"get": _operation("alive", "Whether the loop turns", health, open_=True)},
        "/readyz": {"get": _operation("ready", "Whether new clients are taken", health, open_=True)},
        "/metrics": {"get": _operation("metrics", "Figures for Prometheus", {"200": _text("text/plain")})},
        "/openapi.json": {"get": _operation("openapi", "This document", document, open_=True)},
        "/asyncapi.json": {"get": _operation("asyncapi", "The WebSocket's document", document, open_=True)},
        "/": {"get": _operation("page", "The page", {"200": _text("text/html")}, open_=True)},
    }


def _operation(
    name: str,
    summary: str,
    responses: dict[str, Any],
    *,
    parameters: list[Any] | None = None,
    body: dict[str, Any] | None = None,
    open_: bool = False,
) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": _ref("Problem")}}
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": {**responses, "default": {"description": "a refusal (RFC 9457)", "content": problem}},
    }
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if open_:
        operation["security"] = [{}]
    return operation


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": REF.format(name=name)}


def _answer(description: str, content: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {kind: {"schema": schema} for kind, schema in content.items()}}


def _json(description: str, name: str) -> dict[str, Any]:
    return _answer(description, {"application/json": _ref(name)})


def _text(kind: str) -> dict[str, Any]:
    return _answer("text", {kind: {"type": "string"}})


def _streams(*names: str) -> dict[str, Any]:
    """Return the two forms of a stream: each line, or each event's data, is one of these."""
    lines = {"type": "string", "description": "a line each: " + ", ".join(names)}
    return {"application/x-ndjson": lines, "text/event-stream": lines}


def _path(name: str, description: str, pattern: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": pattern}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _query(name: str, schema: dict[str, Any], description: str, *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


def _header(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


_STREAM: Final = [
    _query("since", _POSITION, "where to start"),
    _query("on_lag", {"enum": [*OnLag]}, "what happens when the topic has moved past this reader"),
    _header("Last-Event-ID", _POSITION, "where an EventSource was; wins over since"),
]
