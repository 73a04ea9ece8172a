"""The channel of pipelines in ``/asyncapi.json``."""

from typing import Any

import msgspec

from service.core.sessions.closing import CLOSINGS
from service.edge.http.handshake import BEARER, PROTOCOL
from service.work.pipelines.events import EVENTS, End

__all__ = ["close_codes", "handshake", "pipeline_channel", "pipeline_operations"]

_CHANNEL = "pipeline"
_DESCRIPTION = (
    "A binary message is an item; for each a binary message or an event comes back, in the order of the items, "
    "which count from 1. After `end` what is under way comes out, then the connection closes with 1000."
)


def pipeline_channel() -> dict[str, Any]:
    """Return the channel, its messages made from the types that go over it."""
    query = {
        "type": "object",
        "properties": {
            "full": {"enum": ["block", "drop_oldest"], "description": "what happens when the pipeline is full"},
            "to": {"type": "string", "description": "a topic that gets a line for each item"},
        },
    }
    return {
        "address": "/pipelines/{name}",
        "description": _DESCRIPTION,
        "parameters": {"name": {"description": "the name of a pipeline, as GET /pipelines lists them"}},
        "messages": {
            "item": _binary("An item: at most --frame-size bytes"),
            "end": _event(End),
            "output": _binary("The result of the next item"),
            **{name: _event(kind) for name, kind in EVENTS.items()},
        },
        "bindings": {"ws": {"method": "GET", "query": query, "headers": handshake(), "bindingVersion": "0.1.0"}},
        "x-close-codes": close_codes(),
    }


def pipeline_operations(security: dict[str, Any]) -> dict[str, Any]:
    """Return what clients send, and what the service does."""
    sent = dict.fromkeys(("item", "end"), "receive") | dict.fromkeys(("output", *EVENTS), "send")
    return {
        f"pipeline.{name}": {
            "action": action,
            "channel": {"$ref": f"#/channels/{_CHANNEL}"},
            "messages": [{"$ref": f"#/channels/{_CHANNEL}/messages/{name}"}],
            **(security if action == "receive" else {}),
        }
        for name, action in sent.items()
    }


def handshake() -> dict[str, Any]:
    """Return the schema of the headers that each WebSocket may have."""
    offered = {"type": "string", "description": f"{PROTOCOL}, and for browsers beside it {BEARER}TOKEN"}
    return {"type": "object", "properties": {"Sec-WebSocket-Protocol": offered}}


def close_codes() -> list[dict[str, Any]]:
    """Return the codes with which the service closes, and when to come back."""
    return [
        {"code": closing.code, "reason": closing.reason, "reconnect": closing.reconnect.value}
        for closing in CLOSINGS
    ]


def _binary(text: str) -> dict[str, Any]:
    return {
        "summary": text,
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }


def _event(kind: type) -> dict[str, Any]:
    (_,), schemas = msgspec.json.schema_components((kind,))
    return {"summary": (kind.__doc__ or "").split("\n")[0], "payload": schemas[kind.__name__]}
