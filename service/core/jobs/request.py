"""What may be asked of a job: one kind of work, when it is due, and how often it is tried."""

import re
from typing import Annotated, Any, Final, Literal

import msgspec

from service.core.errors import InvalidParams, TooLarge
from service.core.fetching.headers import check_headers
from service.core.fetching.request import FetchRequest, Options

__all__ = [
    "KINDS", "METHODS", "SENT_KEY", "CallWork", "FetchWork", "JobName", "JobRequest", "Kind", "MoveRequest",
    "PublishWork", "Retries", "RunWork", "Timeout", "Work", "check_size", "kind_of",
]  # fmt: skip

Kind = Literal["call", "publish", "fetch", "run"]
KINDS: Final[tuple[Kind, ...]] = ("call", "publish", "fetch", "run")
_YEARS: Final = 10 * 366 * 86_400
"""Seconds: as far ahead as a job may be due."""
METHODS: Final = ("POST", "PUT", "PATCH", "DELETE", "GET", "HEAD")

SENT_KEY: Final = re.compile(r"[!-~]([ -~]*[!-~])?")
"""Keys that a header carries unchanged, so that the signed key is the one that is sent."""

_Key = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
JobName = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Retries = Annotated[int, msgspec.Meta(ge=0, le=100)]
Timeout = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
_Delay = Annotated[float, msgspec.Meta(ge=0, le=_YEARS)]


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields by name; an unknown one is a mistake that its sender wants to know of."""


class CallWork(_Base, frozen=True):
    """An HTTP request; a ``body`` that is a text goes out as it is, any other value as JSON."""

    url: str
    method: str = "POST"
    headers: dict[str, str] = {}
    body: Any = None


class PublishWork(_Base, frozen=True):
    """One message to a topic."""

    topic: str
    data: Any


class FetchWork(_Base, frozen=True):
    """A batch: ``urls`` or ``requests``."""

    urls: list[str] | None = None
    requests: list[FetchRequest] | None = None
    options: Options = Options()


class RunWork(_Base, frozen=True):
    """A function that the operator has registered; ``args`` are keywords where they are an object."""

    name: JobName
    args: list[Any] | dict[str, Any] = {}


Work = CallWork | PublishWork | FetchWork | RunWork


class JobRequest(_Base, frozen=True):
    """The body of ``POST /jobs`` and the parameters of ``job``: exactly one of the first four."""

    call: CallWork | None = None
    publish: PublishWork | None = None
    fetch: FetchWork | None = None
    run: RunWork | None = None
    delay: _Delay | None = None
    at: Annotated[str, msgspec.Meta(max_length=40, extra_json_schema={"format": "date-time"})] | None = None
    key: _Key | None = None
    retries: Retries | None = None
    timeout: Timeout | None = None
    keep: Annotated[float, msgspec.Meta(ge=1, le=_YEARS)] = 86_400.0


class MoveRequest(_Base, frozen=True):
    """The body of ``PATCH /jobs/ID``: one of the two."""

    delay: _Delay | None = None
    at: Annotated[str, msgspec.Meta(max_length=40, extra_json_schema={"format": "date-time"})] | None = None


def kind_of(request: JobRequest) -> tuple[Kind, Work]:
    """Return the one kind of work that is asked for; raise InvalidParams where it is not one, or not right."""
    given: list[tuple[Kind, Work]] = [
        (kind, work) for kind in KINDS if (work := getattr(request, kind)) is not None
    ]
    if len(given) != 1:
        raise InvalidParams("call, publish, fetch, run: give exactly one of them")
    kind, work = given[0]
    if isinstance(work, CallWork):
        _check_call(work, request.key)
    elif isinstance(work, FetchWork):
        _check_fetch(work)
    return kind, work


def _check_call(call: CallWork, key: str | None) -> None:
    if key is not None and not SENT_KEY.fullmatch(key):
        raise InvalidParams("key: a call sends it as a header; use printable ASCII without spaces at the ends")
    if call.method not in METHODS:
        raise InvalidParams(f"call.method: one of {', '.join(METHODS)}")
    if call.headers and (wrong := check_headers(call.headers)):
        raise InvalidParams(f"call.headers: {wrong}")
    if call.body is not None and call.method in ("GET", "HEAD"):
        raise InvalidParams(f"call.body: a {call.method} request has none")


def _check_fetch(fetch: FetchWork) -> None:
    if (fetch.urls is None) == (fetch.requests is None):
        raise InvalidParams("fetch.urls, fetch.requests: give one of them")
    if not (fetch.urls or fetch.requests):
        raise InvalidParams("fetch.urls: a batch has at least one")


def check_size(size: int, most: int) -> None:
    """Raise TooLarge for a request that is larger than a job may be."""
    if size > most:
        raise TooLarge(f"limit job: {size} of at most {most} bytes")
