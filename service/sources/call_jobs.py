"""Jobs that make one HTTP request: through the guard and the fetch engine, signed where there is a secret."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import orjson

from service.core.access.grants import Grant, HostPatterns
from service.core.correlation import Trace
from service.core.errors import Forbidden, InvalidParams
from service.core.fetching.batch import flavour_of
from service.core.fetching.dial_policy import Policy
from service.core.fetching.outcome import Failure, Fetched, Permit
from service.core.fetching.request import FetchRequest, Options
from service.core.fetching.target import Refusal, check_url
from service.core.fetching.task import FetchListener, FetchTask
from service.core.jobs.request import CallWork, Work
from service.core.jobs.webhooks import signature
from service.jobs.executor import AttemptFailed, JobAttempt, ServiceExecutor
from service.upstream.attempts import retry_after_of
from service.upstream.content.result_events import encode_body
from service.upstream.runner import Runner

__all__ = ["CallJobs"]

_PLACES: Final = 250
_LARGEST: Final = 64 << 10
"""Bytes of an answer that are kept."""
_DAY: Final = 86_400.0
"""The most seconds by which an upstream may put off a call."""
_AGAIN: Final = frozenset({408, 425, 429})
_TEMPORARY: Final = frozenset({"dns", "connect", "tls", "timeout", "protocol", "unavailable"})


class _Call:
    """One request, as the plan knows it."""

    def __init__(self, attempt: JobAttempt, listener: "CallJobs", request: FetchRequest, options: Options) -> None:
        job = attempt.job
        claim, names, endings = msgspec.json.decode(job.grant, type=tuple[str, tuple[str, ...], tuple[str, ...]])
        self.id = f"job-{job.row}-{job.run}-{job.attempt}"
        self.owner = job.belongs_to()
        self.options = options
        self.items = [request]
        self.hosts = HostPatterns(claim, names, endings)
        self.flavour = flavour_of(options, self.hosts, self.owner)
        self.share: int | None = None
        self.wanted: Sequence[int] = (0,)
        self.trace: Trace | None = None
        self.active = self.under_way = self.landed = 0
        self.listener: FetchListener[_Call] = listener
        self.outcome: asyncio.Future[Fetched | Failure] = asyncio.get_running_loop().create_future()


class CallJobs(ServiceExecutor):
    """An executor, and the listener of its requests."""

    places = _PLACES

    def __init__(
        self, runner: Runner, policy: Policy, secret: bytes | None = None, wall: Callable[[], float] = time.time
    ) -> None:
        self._runner = runner
        self._policy = policy
        self._secret = secret
        self._wall = wall

    def check(self, work: Work, grant: Grant) -> object:
        """Check the URL; what is kept of the grant is the hosts."""
        assert isinstance(work, CallWork)
        target = check_url(work.url, self._policy)
        if isinstance(target, Refusal):
            kind = Forbidden if target.kind == "blocked" else InvalidParams
            raise kind(f"call.url: {target.detail}")
        grant.fetch.check_any()
        if not grant.fetch.allows(target.host):
            raise Forbidden(grant.fetch.refusal(target.host))
        return list(grant.fetch)

    async def carry_out(self, attempt: JobAttempt) -> bytes:
        """Make the request, and return the answer; any status but 2xx is a failure."""
        work = msgspec.json.decode(attempt.job.work, type=CallWork)
        body, content_type = _body(work)
        headers = self._headers_of(work, attempt, body or "", content_type)
        options = Options(
            body="auto", max_bytes=_LARGEST, timeout=attempt.job.time(), retries=0, redirects=0,
            cache="no-store", method=work.method,
        )  # fmt: skip
        call = _Call(attempt, self, FetchRequest(work.url, headers=headers, body=body), options)
        self._runner.add(call)
        try:
            outcome = await call.outcome
        except asyncio.CancelledError:
            self._runner.cancel(call)
            raise
        finally:
            self._runner.forget(call)
        return _result(outcome)

    def _headers_of(
        self, work: CallWork, attempt: JobAttempt, body: str, content_type: str | None
    ) -> dict[str, str]:
        """Return the headers of the client, and those that say which job it is, and from whom."""
        ours = {"Idempotency-Key": attempt.key}
        if content_type is not None:
            ours["Content-Type"] = content_type
        if self._secret is not None:
            stamp = str(int(self._wall()))
            ours |= {"webhook-id": attempt.key, "webhook-timestamp": stamp,
                     "webhook-signature": signature(self._secret, attempt.key, stamp, body)}  # fmt: skip
        given = {name.lower() for name in work.headers}
        signed = {"idempotency-key", "webhook-id", "webhook-timestamp", "webhook-signature"}
        theirs = {name: value for name, value in work.headers.items() if name.lower() not in signed}
        return theirs | {
            name: value for name, value in ours.items() if name.lower() in signed | {"content-type"} - given
        }

    def admit(self, group: _Call) -> Permit:
        """Let it start: how many there are is bounded by the places."""
        return Permit.START

    def succeeded(self, group: _Call, task: FetchTask, fetched: Fetched, queued: float, *, shared: bool) -> None:
        """Receive an answer."""
        _settle(group, fetched)

    def failed(
        self, group: _Call, index: int, failure: Failure, attempts: int, timing: Mapping[str, float]
    ) -> None:
        """Receive a failure."""
        _settle(group, failure)


def _settle(call: _Call, outcome: Fetched | Failure) -> None:
    if not call.outcome.done():
        call.outcome.set_result(outcome)


def _body(work: CallWork) -> tuple[str | None, str | None]:
    """Return what is sent, and its type: a text as it is, all else as JSON."""
    if work.body is None:
        return None, None
    if isinstance(work.body, str):
        return work.body, "text/plain; charset=utf-8"
    return orjson.dumps(work.body).decode(), "application/json"


def _result(outcome: Fetched | Failure) -> bytes:
    if isinstance(outcome, Failure):
        if outcome.kind == "redirects":
            raise AttemptFailed(
                "http_status", "the answer is a redirect, which a call does not follow", again=False
            )
        raise AttemptFailed(
            outcome.kind,
            outcome.detail,
            again=outcome.temporary or outcome.kind in _TEMPORARY,
            after=outcome.retry_after,
        )
    status = outcome.status
    if not 200 <= status <= 299:
        again = status in _AGAIN or status >= 500
        raise AttemptFailed("http_status", f"the answer has status {status}", again=again, after=_after(outcome))
    _, text = encode_body(outcome.body, "auto", outcome.content_type, cut=outcome.truncated)
    return orjson.dumps({"status": status, "headers": outcome.headers, "body": text})


def _after(fetched: Fetched) -> float | None:
    after = retry_after_of(fetched)
    return None if after is None else min(after, _DAY)
