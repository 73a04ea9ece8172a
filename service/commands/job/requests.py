"""What ``sluice job`` asks of the service, over HTTP."""

import os
from argparse import Namespace
from http.client import HTTPException, HTTPResponse
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

import orjson

__all__ = ["RequestFailed", "Wrong", "ask", "base_of", "open_answer", "path_of", "refusal"]

_URL: Final = "http://127.0.0.1:8080"
_PATIENCE: Final = 60.0
"""Seconds without a byte from the service: it sends heartbeats more often."""


class Wrong(Exception):
    """What the user gave is not right; the text is one line."""


class RequestFailed(Exception):
    """What answers is not the service, or it has gone; the text is one line."""


def ask(options: Namespace, method: str, path: str, body: Any = None) -> Any:
    """Return the document of an answer; raises HTTPError, OSError, HTTPException and RequestFailed."""
    with open_answer(options, method, path, body) as response:
        try:
            return orjson.loads(response.read())
        except orjson.JSONDecodeError:
            raise RequestFailed(f"{base_of(options)}: the server there is not sluice") from None


def open_answer(options: Namespace, method: str, path: str, body: Any = None) -> HTTPResponse:
    """Make a request and return its answer, which has to be closed."""
    headers = {"Accept": "application/x-ndjson, application/json"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if token := os.environ.get("SLUICE_TOKEN"):
        if not (token.isascii() and token.isprintable()):
            raise Wrong("SLUICE_TOKEN: a token may have printable ASCII characters only")
        headers["Authorization"] = f"Bearer {token}"
    request = Request(base_of(options) + path, _encoded(body), headers, method=method)  # noqa: S310 - it was checked
    answer: HTTPResponse = urlopen(request, timeout=_PATIENCE)  # noqa: S310
    return answer


def base_of(options: Namespace) -> str:
    """Return the address of the service; raise Wrong."""
    base = str(options.url or os.environ.get("SLUICE_URL") or _URL)
    try:
        parts = urlsplit(base)
        right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not (right and base.isascii() and base.isprintable()):
        raise Wrong(f"--url: {base[:80]!r} does not begin with http:// or https:// and a host")
    return base.rstrip("/")


def path_of(job: str) -> str:
    """Return the path of a job; raise Wrong."""
    if not (job.isascii() and job.isprintable() and job):
        raise Wrong(f"{ascii(job)[:80]} is not the id of a job")
    return f"/jobs/{quote(job, safe='')}"


def refusal(error: HTTPError) -> str:
    """Return what a refusal says."""
    try:
        problem = orjson.loads(error.read())
        return f"{problem['detail']} ({error.code})"
    except (orjson.JSONDecodeError, KeyError, TypeError, OSError, HTTPException):
        return f"HTTP status {error.code}"


def _encoded(body: Any) -> bytes | None:
    try:
        return None if body is None else orjson.dumps(body)
    except (TypeError, ValueError) as error:
        raise Wrong(f"this cannot be sent as JSON: {error}") from None
