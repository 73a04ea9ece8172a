"""What is made of schemathesis' requests before they are sent: they ask an upstream that answers, in every form."""

import itertools
import os
from typing import Any

import schemathesis

_ORIGIN = os.environ["SLUICE_ORIGIN"]
_PATHS = ("/bytes/5", "/etag/a", "/status/404", "/status/500", "/redirect/2", "/slow/20", "/fail")
_JSON, _LINES, _EVENTS = "application/json", "application/x-ndjson", "text/event-stream"
_ACCEPTED = {"/fetch-batch": (_JSON, _LINES, _EVENTS), "/batches/{id}/events": (_LINES, _EVENTS)}
_ENDLESS = ("/topics/{name}/events", "/watch", "/jobs/{id}/events")
"""A job may be due in ten years. Of a stream of events, unlike lines, schemathesis reads only the first."""
_STEPS = ("count", "digest", "links", "save", "select", "text", "thumbnail")
_MOST = 20
_numbers = itertools.count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Change the case in place."""
    number = next(_numbers)
    path = case.operation.path
    if path in _ACCEPTED or path in _ENDLESS:
        forms = _ACCEPTED.get(path, (_EVENTS,))
        case.headers["Accept"] = forms[number % len(forms)]
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = _own_key(case.headers["Idempotency-Key"], number)
    if path == "/fetch-batch" and isinstance(case.body, dict):
        _ask_origin(case.body, number)
        _take_steps(case.body)
    if path == "/jobs" and isinstance(case.body, dict):
        _make_job(case.body, number)
    if path == "/watch" and str(case.query.get("url", "")).startswith("http") and number % 2:
        case.query["url"] = _ORIGIN + _PATHS[number % len(_PATHS)]


def _own_key(key: Any, number: int) -> Any:
    """Make a valid key one that never comes again: with another body it would be refused, which no schema tells."""
    return f"{key[:100]}-{number}" if isinstance(key, str) and 1 <= len(key) <= 128 else key


def _ask_origin(body: dict[str, Any], number: int) -> None:
    """Point every other one of a batch's first URLs to the origin; the rest stay what they are, mostly nonsense."""
    urls = body.get("urls")
    if isinstance(urls, list):
        body["urls"] = [_replaced(url, index + number) for index, url in enumerate(urls[:_MOST])] + urls[_MOST:]
    requests = body.get("requests")
    for index, request in enumerate(requests[:_MOST] if isinstance(requests, list) else ()):
        if isinstance(request, dict) and "url" in request:
            request["url"] = _replaced(request["url"], index + number)


def _make_job(body: dict[str, Any], number: int) -> None:
    """Give each job a key of its own, and a URL that no schema describes in full."""
    call, fetch = body.get("call"), body.get("fetch")
    if "key" in body:
        body["key"] = _own_key(body["key"], number)
    if isinstance(call, dict) and str(call.get("url", "")).lower().startswith("http"):
        body["call"] = {**call, "url": _ORIGIN + _PATHS[number % len(_PATHS)]}
    if isinstance(fetch, dict):
        _take_steps(fetch)
    for kind, field in (("call", "body"), ("publish", "data"), ("run", "args")):
        work = body.get(kind)
        if isinstance(work, dict) and isinstance(work.get(field), dict | list):
            # Integers beyond 64 bits and halves of surrogate pairs are refused, which no schema tells.
            body[kind] = {**work, field: type(work[field])()}


def _take_steps(body: dict[str, Any]) -> None:
    """Have steps that are known by name carried out with parameters that fit, which no schema describes in full."""
    options = body.get("options")
    if not isinstance(options, dict):
        return
    steps = options.get("steps")
    if isinstance(steps, list) and 1 <= len(steps) <= 16 and all(map(_is_known, steps)):
        body["options"] = {**options, "steps": [{"step": "digest"}, {"step": "links"}]}


def _is_known(step: Any) -> bool:
    return isinstance(step, dict) and step.get("step") in _STEPS


def _replaced(url: Any, number: int) -> Any:
    return _ORIGIN + _PATHS[number // 2 % len(_PATHS)] if isinstance(url, str) and number % 2 else url
