"""``/asyncapi.json`` (AsyncAPI 3.0): the WebSocket's requests, answers and notifications."""

from typing import Any

import msgspec

from service import __version__
from service.core.session import METHODS
from service.edge.openapi import REF, components

__all__ = ["asyncapi"]

_RPC = {"const": "2.0"}
_ID = {"type": ["string", "number", "null"]}


def asyncapi() -> dict[str, Any]:
    """Return the document: an operation for each method, made from the table that carries them out."""
    messages: dict[str, Any] = {"answer": _message("The answer to a request", _answer())}
    operations: dict[str, Any] = {}
    for method, kind in METHODS.items():
        messages[method] = _message(kind.__doc__ or method, _request(method, kind))
        operations[method] = {
            "action": "receive",
            "channel": {"$ref": "#/channels/socket"},
            "messages": [{"$ref": f"#/channels/socket/messages/{method}"}],
            "reply": {
                "channel": {"$ref": "#/channels/socket"},
                "messages": [{"$ref": "#/channels/socket/messages/answer"}],
            },
        }
    for name, (text, params) in _NOTIFICATIONS.items():
        messages[name] = _message(text, _notification(name, params))
        operations[name] = {
            "action": "send",
            "channel": {"$ref": "#/channels/socket"},
            "messages": [{"$ref": f"#/channels/socket/messages/{name}"}],
        }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "sluice", "version": __version__, "license": {"name": "MIT"}},
        "defaultContentType": "application/json",
        "channels": {"socket": {"address": "/ws", "messages": messages, "bindings": {"ws": {"method": "GET"}}}},
        "operations": operations,
        "components": {"schemas": components(*METHODS.values())},
    }


def _message(text: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {"summary": text.strip().split("\n")[0], "payload": payload}


def _request(method: str, kind: type) -> dict[str, Any]:
    (params,), _ = msgspec.json.schema_components([kind], ref_template=REF)
    properties = {"jsonrpc": _RPC, "id": _ID, "method": {"const": method}, "params": params}
    return {"type": "object", "properties": properties, "required": ["jsonrpc", "method"]}


def _answer() -> dict[str, Any]:
    data = {
        "type": "object",
        "properties": {
            "reason": {"type": "string"},
            "temporary": {"type": "boolean"},
            "retry_after": {"type": "number"},
        },
        "required": ["reason", "temporary"],
    }
    error = {
        "type": "object",
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}, "data": data},
        "required": ["code", "message", "data"],
    }
    common = {"jsonrpc": _RPC, "id": _ID}
    return {
        "oneOf": [
            {"type": "object", "properties": {**common, "result": {}}, "required": ["jsonrpc", "id", "result"]},
            {"type": "object", "properties": {**common, "error": error}, "required": ["jsonrpc", "id", "error"]},
        ]
    }


def _notification(method: str, params: dict[str, Any]) -> dict[str, Any]:
    shape = {"type": "object", "properties": params, "required": list(params)}
    properties = {"jsonrpc": _RPC, "method": {"const": method}, "params": shape}
    return {"type": "object", "properties": properties, "required": ["jsonrpc", "method", "params"]}


_TOPIC = {"type": "string", "minLength": 1, "maxLength": 255}
_OFFSET = {"type": "integer", "minimum": 1}
_NOTIFICATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "message": ("One message of a topic", {"topic": _TOPIC, "offset": _OFFSET, "data": {}}),
    "gap": ("Messages that this reader has missed", {"topic": _TOPIC, "from": _OFFSET, "to": _OFFSET}),
    "closing": (
        "The connection is about to end",
        {"reason": {"type": "string"}, "retry_after": {"type": "number"}},
    ),
}
