"""``sluice job`` itself: a request to the service, and its answer as a line, or as JSON."""

import signal
import sys
from argparse import Namespace
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

import orjson

from service.commands.job.following import events_of
from service.commands.job.requests import RequestFailed, Wrong, ask, base_of, path_of, refusal
from service.commands.writing import print_all
from service.runtime.signals import handling

__all__ = ["run"]

_FAILED, _USAGE, _CANCELLED, _INTERRUPTED = 1, 2, 3, 130
_ENDS: Final = {"done": 0, "failed": _FAILED, "cancelled": _CANCELLED}


class _Unwritten(Exception):
    """Standard output cannot be written to, and that was reported."""

    def __init__(self, code: int) -> None:
        self.code = code


def run(options: Namespace) -> int:
    """Run the action and return its exit code."""
    try:
        with handling(dict.fromkeys((signal.SIGINT, signal.SIGTERM), signal.default_int_handler)):
            return _ACTIONS[options.action](options)
    except _Unwritten as unwritten:
        return unwritten.code
    except Wrong as error:
        return _complain(str(error), _USAGE)
    except RequestFailed as error:
        return _complain(str(error))
    except HTTPError as error:
        return _complain(refusal(error))
    except (URLError, OSError, HTTPException) as error:
        why = getattr(error, "reason", None) or error
        return _complain(f"{base_of(options)}: {why}; is the service there? --url or SLUICE_URL says where")
    except KeyboardInterrupt:
        return _complain("interrupted", _INTERRUPTED)


def _submit(options: Namespace) -> int:
    names = ("delay", "at", "key", "retries", "timeout", "keep")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    made = ask(options, "POST", "/jobs", {options.kind: _work(options), **given})
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
        page = ask(options, "GET", path)
        for job in page["jobs"]:
            _print(options, job, f"{job['job']}  {job['state']:<9}  {job['kind']:<7}  {job['due']}")
        left, after = left - len(page["jobs"]), page["next"]
        if after is None:
            break
    return 0


def _show(options: Namespace) -> int:
    job = ask(options, "GET", path_of(options.id))
    width = max(map(len, job))
    printed = None if options.json else job.pop("output", None)
    lines = [f"{name:<{width}}  {_text(value)}" for name, value in job.items()]
    if printed is not None:
        lines += ["output", *(f"  {_text(line)}" for line in printed.splitlines())]
    _print(options, job, "\n".join(lines))
    return 0


def _cancel(options: Namespace) -> int:
    answer = ask(options, "DELETE", path_of(options.id))
    before = "cancelled" if answer["cancelled"] else "it had ended"
    after = ", and is being stopped" if answer["cancelled"] and answer["state"] == "running" else ""
    _print(options, answer, f"{before}; it is {answer['state']}{after}")
    return 0 if answer["cancelled"] else _FAILED


def _follow(options: Namespace) -> int:
    return _events(options, options.id)


def _events(options: Namespace, job: str) -> int:
    """Print the events of a job; return the exit code that its last one stands for."""
    code = _FAILED
    try:
        for event in events_of(options, job):
            rest = " ".join(f"{field}={_text(value)}" for field, value in event.items() if field != "event")
            _print(options, event, f"{event['event']} {rest}".rstrip())
            code = _ENDS.get(event["event"], _FAILED)
    except KeyboardInterrupt:
        return _complain(f"interrupted; the job goes on: sluice job follow {job}", _INTERRUPTED)
    return code


def _text(value: Any) -> str:
    """Return a value for the terminal: what would move its cursor is escaped."""
    return value if isinstance(value, str) and value.isprintable() else orjson.dumps(value).decode()


def _print(options: Namespace, value: Any, text: str) -> None:
    line = (orjson.dumps(value).decode() if options.json else text).encode() + b"\n"
    if code := print_all(line, _complain):
        raise _Unwritten(code)


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
