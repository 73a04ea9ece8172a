"""``sluice job`` itself: a request to the service, and its answer as a line, or as JSON."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

import orjson

from service.commands.writing import write_all

__all__ = ["run"]

_FAILED, _USAGE, _CANCELLED, _INTERRUPTED = 1, 2, 3, 130
_URL: Final = "http://127.0.0.1:8080"
_PATIENCE: Final = 60.0
"""Seconds without a byte from the service: it sends heartbeats more often."""
_ENDS: Final = {"done": 0, "failed": _FAILED, "cancelled": _CANCELLED}


class Wrong(Exception):
    """What the user gave is not right; the text is one line."""


def run(options: Namespace) -> int:
    """Run the action and return its exit code."""
    try:
        return _ACTIONS[options.action](options)
    except Wrong as error:
        return _complain(str(error), _USAGE)
    except HTTPError as error:
        return _complain(_refusal(error))
    except (URLError, OSError, HTTPException) as error:
        why = getattr(error, "reason", None) or error
        return _complain(f"{_base(options)}: {why}; is the service there? --url or SLUICE_URL says where")
    except KeyboardInterrupt:
        return _complain("interrupted; the job goes on", _INTERRUPTED)


def _submit(options: Namespace) -> int:
    names = ("delay", "at", "key", "retries", "timeout", "keep")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    made = _ask(options, "POST", "/jobs", {options.kind: _work(options), **given})
    if options.follow:
        sys.stderr.write(f"{made['job']}\n")
        return _events(options, made["job"])
    _print(options, made, f"{made['job']} {made['state']} {made['due']}")
    return 0


def _work(options: Namespace) -> dict[str, Any]:
    if options.kind == "publish":
        return {"topic": options.topic, "data": _json("JSON", options.data)}
    if options.kind == "fetch":
        return {"urls": options.urls}
    if options.kind == "run":
        return {"name": options.name, **({} if options.args is None else {"args": _json("JSON", options.args)})}
    work: dict[str, Any] = {"url": options.target}
    if options.method is not None:
        work["method"] = options.method.upper()
    if options.header:
        work["headers"] = dict(map(_header, options.header))
    if options.body is not None:
        like_json = options.body.lstrip()[:1] in ("[", "{")
        work["body"] = _json("--body", options.body) if like_json else options.body
    return work


def _json(name: str, text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Wrong(
            f"{name}: {text[:40]!r} is not JSON ({error}); a text needs quotation marks of its own"
        ) from None


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise Wrong(f"--header: {text[:40]!r} is not NAME: VALUE")
    return name.strip(), value.strip()


def _list(options: Namespace) -> int:
    left, after = options.limit, None
    while left > 0:
        query = {"limit": min(left, 500), "state": options.state, "after": after}
        path = "/jobs?" + urlencode({name: value for name, value in query.items() if value is not None})
        page = _ask(options, "GET", path)
        for job in page["jobs"]:
            _print(options, job, f"{job['job']}  {job['state']:<9}  {job['kind']:<7}  {job['due']}")
        left, after = left - len(page["jobs"]), page["next"]
        if after is None:
            break
    return 0


def _show(options: Namespace) -> int:
    job = _ask(options, "GET", f"/jobs/{quote(options.id, safe='')}")
    width = max(map(len, job))
    _print(options, job, "\n".join(f"{name:<{width}}  {_text(value)}" for name, value in job.items()))
    return 0


def _cancel(options: Namespace) -> int:
    answer = _ask(options, "DELETE", f"/jobs/{quote(options.id, safe='')}")
    before = "cancelled" if answer["cancelled"] else "it had ended"
    _print(options, answer, f"{before}; it is {answer['state']}")
    return 0 if answer["cancelled"] else _FAILED


def _follow(options: Namespace) -> int:
    return _events(options, options.id)


def _events(options: Namespace, job: str) -> int:
    """Print the events of a job; return the exit code that its last one stands for."""
    code = _FAILED
    with _open(options, "GET", f"/jobs/{quote(job, safe='')}/events") as response:
        for event in _lines(response):
            name = event["event"]
            if name == "heartbeat":
                continue
            rest = " ".join(f"{field}={_text(value)}" for field, value in event.items() if field != "event")
            _print(options, event, f"{name} {rest}".rstrip())
            code = _ENDS.get(name, _FAILED)
    return code


def _lines(response: HTTPResponse) -> Iterator[dict[str, Any]]:
    for line in response:
        yield orjson.loads(line)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _print(options: Namespace, value: Any, text: str) -> None:
    write_all(1, (orjson.dumps(value).decode() if options.json else text).encode() + b"\n")


def _ask(options: Namespace, method: str, path: str, body: Any = None) -> Any:
    with _open(options, method, path, body) as response:
        return orjson.loads(response.read())


def _open(options: Namespace, method: str, path: str, body: Any = None) -> HTTPResponse:
    headers = {"Accept": "application/x-ndjson, application/json"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if token := os.environ.get("SLUICE_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else orjson.dumps(body)
    # The scheme was checked.
    request = Request(_base(options) + path, data, headers, method=method)  # noqa: S310
    answer: HTTPResponse = urlopen(request, timeout=_PATIENCE)  # noqa: S310
    return answer


def _base(options: Namespace) -> str:
    base = options.url or os.environ.get("SLUICE_URL") or _URL
    if not base.startswith(("http://", "https://")):
        raise Wrong(f"--url: {base[:80]!r} does not begin with http:// or https://")
    return str(base.rstrip("/"))


def _refusal(error: HTTPError) -> str:
    try:
        problem = orjson.loads(error.read())
        return f"{problem['detail']} ({error.code})"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"HTTP status {error.code}"


def _complain(text: str, code: int = _FAILED) -> int:
    sys.stderr.write(f"sluice job: {text}\n")
    return code


_ACTIONS: Final[dict[str, Callable[[Namespace], int]]] = {
    "submit": _submit,
    "list": _list,
    "show": _show,
    "cancel": _cancel,
    "follow": _follow,
}
