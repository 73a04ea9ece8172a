"""``/asyncapi.json`` (AsyncAPI 3.0): the requests, answers and notifications of /ws, and the pipelines."""

from typing import Any, Final

from service import __version__
from service.core import events
from service.core.fetching.batch import BatchLimits
from service.core.jobs.answers import JobAccepted
from service.core.sessions.messages import Empty
from service.core.sessions.session import METHODS, SessionLimits
from service.edge.description.pipeline_channel import (
    close_codes,
    handshake,
    pipeline_channel,
    pipeline_operations,
)
from service.edge.description.schemas import ERRORS, components, ref

__all__ = ["NOTIFICATIONS", "RESULTS", "asyncapi"]

RESULTS: Final[dict[str, type]] = {
    "subscribe": events.Subscribed,
    "unsubscribe": events.Nothing,
    "publish": events.PublishedAt,
    "presence": events.Readers,
    "fetch": events.Begun,
    "watch": events.Subscribed,
    "unwatch": events.Nothing,
    "job": JobAccepted,
    "cancel": events.Cancelled,
    "authenticate": events.Authenticated,
    "ping": events.Nothing,
}
"""What each method answers."""
NOTIFICATIONS: Final[dict[str, type]] = {
    "message": events.Message,
    "gap": events.Missed,
    "closing": events.Closing,
}

_RPC: Final = {"const": "2.0"}
_ID: Final = {"type": ["string", "number", "null"]}
_CHANNEL: Final = {"$ref": "#/channels/socket"}
_DESCRIPTION: Final = (
    "One JSON-RPC 2.0 object a text frame. A request without id is never answered. "
    "The answer to a request precedes every message that the request causes."
)


def asyncapi(limits: BatchLimits, *, token: bool) -> dict[str, Any]:
    """Return the document: an operation for each method, made from the table that carries them out."""
    schemas = components(limits, *METHODS.values())
    for schema in schemas.values():
        _without_discriminators(schema)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "sluice", "version": __version__, "license": {"name": "MIT"}},
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": "/ws",
                "description": _DESCRIPTION,
                "messages": _messages(),
                "bindings": {"ws": {"method": "GET", "headers": handshake(), "bindingVersion": "0.1.0"}},
                "x-close-codes": close_codes(),
            },
            "pipeline": pipeline_channel(),
        },
        "operations": _operations(token=token),
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _messages() -> dict[str, Any]:
    requests = {method: _request(method, kind) for method, kind in METHODS.items()}
    answers = {method: _answer(ref(kind)) for method, kind in RESULTS.items()}
    return {
        **{method: _message(METHODS[method].__doc__, payload) for method, payload in requests.items()},
        **{f"{method}.answer": _message(RESULTS[method].__doc__, payload) for method, payload in answers.items()},
        "error": _message("A refusal", _error()),
        "array": _message("Many requests at once", _array(list(requests.values()))),
        "array.answer": _message("The answers, in the order of the requests that had an id", {"type": "array"}),
        **{name: _message(kind.__doc__, _notification(name, kind)) for name, kind in NOTIFICATIONS.items()},
    }


def _operations(*, token: bool) -> dict[str, Any]:
    security = {"security": [{"$ref": "#/components/securitySchemes/token"}]} if token else {}
    operations: dict[str, Any] = {}
    for method in (*METHODS, "array"):
        operations[method] = {
            "action": "receive",
            "channel": _CHANNEL,
            "messages": [_named(method)],
            "reply": {"channel": _CHANNEL, "messages": [_named(f"{method}.answer"), _named("error")]},
            **security,
        }
    for name in NOTIFICATIONS:
        operations[name] = {"action": "send", "channel": _CHANNEL, "messages": [_named(name)]}
    return operations | pipeline_operations(security)


def _named(message: str) -> dict[str, Any]:
    return {"$ref": f"#/channels/socket/messages/{message}"}


def _message(text: str | None, payload: dict[str, Any]) -> dict[str, Any]:
    return {"summary": (text or "").strip().split("\n")[0], "payload": payload}


def _request(method: str, kind: type) -> dict[str, Any]:
    needed = [] if kind is Empty else ["params"]
    properties = {"jsonrpc": _RPC, "id": _ID, "method": {"const": method}, "params": ref(kind)}
    return {"type": "object", "properties": properties, "required": ["jsonrpc", "method", *needed]}


def _array(requests: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "type": "array",
        "items": {"oneOf": requests},
        "minItems": 1,
        "maxItems": SessionLimits().requests_in_array,
    }


def _answer(result: dict[str, Any]) -> dict[str, Any]:
    properties = {"jsonrpc": _RPC, "id": _ID, "result": result}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _error() -> dict[str, Any]:
    """Return the shape of a refusal: its code and its reason always go together."""
    data = {
        "type": "object",
        "properties": {"temporary": {"type": "boolean"}, "retry_after": {"type": "number"}},
        "required": ["reason", "temporary"],
    }
    pairs = [
        {"properties": {"code": {"const": error.code}, "data": {"properties": {"reason": {"const": error.reason}}}}}
        for error in ERRORS
    ]
    error = {
        "type": "object",
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}, "data": data},
        "required": ["code", "message", "data"],
        "oneOf": pairs,
    }
    properties = {"jsonrpc": _RPC, "id": _ID, "error": error}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _notification(method: str, kind: type) -> dict[str, Any]:
    properties = {"jsonrpc": _RPC, "method": {"const": method}, "params": ref(kind)}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _without_discriminators(schema: Any) -> None:
    """Take OpenAPI's out: AsyncAPI means another thing by the word, and each type's ``event`` tells."""
    if isinstance(schema, dict):
        if isinstance(schema.get("discriminator"), dict):
            del schema["discriminator"]
        for part in schema.values():
            _without_discriminators(part)
    elif isinstance(schema, list):
        for part in schema:
            _without_discriminators(part)
