"""The parts of an OpenAPI document: operations, parameters, answers and refusals."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from service.edge.description.schemas import ERRORS, ref
from service.edge.http.correlation import REQUEST_ID

__all__ = ["answer", "header", "json_answer", "operation", "path", "query", "refusals", "stream", "untagged"]

_ALWAYS: Final = (400, 401, 403, 429, 500, 503)
"""What any request may meet: no HTTP, no token, a foreign page, too many of one address, our bug, no room."""
_BODY: Final = (408, 413, 415, 422)
_SECONDS: Final = {"type": "integer", "minimum": 1}
_HEADERS: Final[Mapping[int, dict[str, dict[str, Any]]]] = {
    401: {"WWW-Authenticate": {"const": "Bearer"}},
    426: {"Sec-WebSocket-Version": {"const": "13"}, "Upgrade": {"const": "websocket"}},
    429: {"Retry-After": _SECONDS},
    503: {"Retry-After": _SECONDS, "Sluice-Reason": {"type": "string"}},
}
_REFUSED: Final = (*_ALWAYS, *_BODY, 404, 409, 426, 504)


def refusals() -> dict[str, Any]:
    """Return every refusal, by the name under which operations refer to it."""
    return {f"Refused{status}": _refusal(status) for status in sorted(_REFUSED)}


def _refusal(status: int) -> dict[str, Any]:
    reasons = [error.reason for error in ERRORS if error.status == status]
    phrase = HTTPStatus(status).phrase
    content = {"application/problem+json": ref("Problem")}
    return answer(f"{phrase}: {', '.join(reasons)}" if reasons else phrase, content, _HEADERS.get(status))


def operation(
    name: str,
    summary: str,
    responses: Mapping[str, Any],
    *,
    refused: Iterable[int] = (),
    parameters: list[Any] | None = None,
    body: dict[str, Any] | None = None,
    body_type: str = "application/json",
    open_: bool = False,
) -> dict[str, Any]:
    """Return an operation; ``refused`` beside what any request may meet, ``open_`` for one without credentials."""
    statuses = {*_ALWAYS, *refused, *(_BODY if body is not None else ())} - ({401} if open_ else set())
    described: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": {
            **{str(status): {"$ref": f"#/components/responses/Refused{status}"} for status in sorted(statuses)},
            **responses,
        },
    }
    if parameters:
        described["parameters"] = parameters
    if body is not None:
        described["requestBody"] = {"required": True, "content": {body_type: {"schema": body}}}
    if open_:
        described["security"] = []
    return described


def answer(
    description: str, content: Mapping[str, Any] | None = None, headers: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a response with these schemas by media type, and headers that are always there."""
    described: dict[str, Any] = {"description": description}
    if content:
        described["content"] = {kind: {"schema": schema} for kind, schema in content.items()}
    always = {REQUEST_ID: {"type": "string"}, **(headers or {})}
    described["headers"] = {name: {"required": True, "schema": schema} for name, schema in always.items()}
    return described


def json_answer(description: str, kind: type) -> dict[str, Any]:
    """Return a response with one JSON document."""
    return answer(description, {"application/json": ref(kind)})


def stream(lines: Iterable[type], data: dict[str, Any]) -> dict[str, Any]:
    """Return the schemas of a stream's two forms.

    NDJSON is one of ``lines`` a line. Of server-sent events the schema is one event's, as OpenAPI 3.2 has it,
    and ``data`` that of its data.
    """
    event = {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "EPOCH:OFFSET"},
            "event": {"enum": ["start", "gap", "message"], "description": "missing for messages"},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
        },
        "required": ["data"],
    }
    text = "a line each: " + ", ".join(kind.__name__ for kind in lines)
    return {"application/x-ndjson": {"type": "string", "description": text}, "text/event-stream": event}


def untagged(kind: type) -> dict[str, Any]:
    """Return the schema of a named server-sent event's data: the type without ``event``, which its name says."""
    described = msgspec.json.schema(kind)["$defs"][kind.__name__]
    properties = {name: schema for name, schema in described["properties"].items() if name != "event"}
    return {"type": "object", "properties": properties, "required": list(properties)}


def path(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter in the path."""
    return _parameter("path", name, description, schema, required=True)


def query(name: str, description: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    """Return a parameter in the query."""
    return _parameter("query", name, description, schema, required=required)


def header(name: str, description: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    """Return a header of the request."""
    return _parameter("header", name, description, schema, required=required)


def _parameter(
    where: str, name: str, description: str, schema: dict[str, Any], *, required: bool
) -> dict[str, Any]:
    return {"name": name, "in": where, "required": required, "description": description, "schema": schema}
