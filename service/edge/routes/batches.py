"""Batches over HTTP: ``POST /fetch-batch`` and ``/batches/ID``."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import orjson
from aiohttp import web

from service.core.fetching.batch import Batch, BatchRequest, IdempotencyKey, Keep, KeyScope, failed_event
from service.core.fetching.outcome import Failure
from service.core.parsing import convert
from service.core.topics.hub import Hub
from service.core.topics.topic import OnLag
from service.core.topics.wire import Encoding
from service.edge.access.credentials import GRANT, OWNER
from service.edge.http.answers import NDJSON, answer_of, answers_event_stream, json_answer, prefers_async
from service.edge.http.correlation import correlation_of
from service.edge.http.queries import STREAM, check_query
from service.edge.http.request_body import read_json, requested_key
from service.edge.routes.large_writes import LARGE, write_parts
from service.edge.routes.pull_reader import PullReader
from service.edge.routes.streams import STREAMS, stream_events, stream_topic
from service.sources.batches import Batches

__all__ = ["BatchRoutes"]

LARGEST_DOCUMENT = 64 << 20
"""Bytes of results in one JSON answer; what does not fit fails as ``too_large``."""


class BatchRoutes:
    """The handlers; ``add_to`` puts them into an application."""

    def __init__(self, hub: Hub, batches: Batches, *, body_size: int, body_time: float) -> None:
        self._hub = hub
        self._batches = batches
        self._body_size = body_size
        self._body_time = body_time

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_post("/fetch-batch", self.fetch)
        app.router.add_get("/batches/{id}", self.state)
        app.router.add_delete("/batches/{id}", self.cancel)
        app.router.add_get("/batches/{id}/events", self.events)

    async def fetch(self, request: web.Request) -> web.StreamResponse:
        """Begin a batch and answer with its results in the form that the client accepts."""
        grant = request[GRANT]
        grant.fetch.check_any()
        value = await read_json(request, request[OWNER], self._body_size, self._body_time)
        detached = prefers_async(request)
        keep = Keep.DETACHED if detached else Keep.ATTACHED
        asked = convert(value, BatchRequest)
        batch = self._batches.start(
            asked,
            owner=request[OWNER],
            keep=keep,
            key=_key(request, value),
            grant=grant,
            correlation=correlation_of(request),
        )
        await answer_of(batch.accepted or batch)
        headers = {"Sluice-Batch": batch.id, "Sluice-Epoch": batch.topic.epoch}
        if detached:
            headers |= {"Location": f"/batches/{batch.id}", "Preference-Applied": "respond-async"}
            body = self._batches.document(batch)
            return web.Response(status=202, body=body, content_type="application/json", headers=headers)
        if answers_event_stream(request):
            return await stream_topic(request, self._hub, batch.topic, since="oldest", batch=True, headers=headers)
        return await self._document(request, batch, _Document(asked), headers)

    async def _document(
        self, request: web.Request, batch: Batch, document: "_Document", headers: dict[str, str]
    ) -> web.StreamResponse:
        """Collect all events and answer with one document, the results in the order of the URLs."""
        reader = PullReader(batch.topic, Encoding.EVENTS, OnLag.DISCONNECT, request.transport)
        self._hub.attach(reader, "oldest")
        large, owner = request.app[STREAMS].large, request[OWNER]
        try:
            while reader.behind or not reader.ended:
                if (size := reader.coming) > LARGE:
                    await large.wait(owner, size)  # it is parsed
                for line in _lines(*reader.read_parts()):
                    document.add(line)
                await asyncio.sleep(0)
                await reader.wait(3600.0)
        finally:
            reader.detach()
        pieces = document.complete(batch)
        headers = {**headers, "Cache-Control": "no-store", "Cache-Status": _cache_status(document.caches)}
        size = sum(map(len, pieces))
        if size <= LARGE:
            return web.Response(body=b"".join(pieces), content_type="application/json", headers=headers)
        response = web.StreamResponse(headers=headers)
        response.content_type, response.content_length = "application/json", size
        await response.prepare(request)
        async for _ in write_parts(response, pieces, large, owner):
            pass
        await response.write_eof()
        return response

    async def state(self, request: web.Request) -> web.Response:
        """Answer with how far a batch is."""
        batch = self._batches.find(request.match_info["id"])
        return json_answer(self._batches.document(batch))

    async def cancel(self, request: web.Request) -> web.Response:
        """End a batch."""
        cancelled = await answer_of(self._batches.cancel(request.match_info["id"]))
        return web.Response(body=orjson.dumps({"cancelled": cancelled}), content_type="application/json")

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Stream a batch's events."""
        check_query(request, STREAM)
        batch = self._batches.find(request.match_info["id"])
        return await stream_events(request, self._hub, batch.topic, {"Sluice-Batch": batch.id})


class _Document:
    """The results of a batch in the order of its URLs, as far as they fit into one document."""

    def __init__(self, asked: BatchRequest) -> None:
        self.caches: Counter[str] = Counter()
        self._urls = asked.urls or [one.url for one in asked.requests or ()]
        self._results: list[bytes | memoryview | None] = [None] * len(self._urls)
        self._size = 0
        self._failed = 0

    def add(self, line: bytes | memoryview) -> None:
        """Take in an event; what is not a URL's result is passed over."""
        event: dict[str, Any] = orjson.loads(line)
        if event["event"] == "result" and self._size + len(line) > LARGEST_DOCUMENT:
            detail = f"the whole answer has at most {LARGEST_DOCUMENT} bytes; ask for {NDJSON}"
            self._fail(event["index"], detail, event["attempts"], event["timing"])
        elif event["event"] in ("result", "failed"):
            self._failed += event["event"] == "failed"
            self._put(event["index"], line)
            self.caches[event.get("cache", "none")] += 1

    def complete(self, batch: Batch) -> list[bytes | memoryview]:
        """Return the document in pieces.

        Events that the batch gave up before they were read fail as ``too_large``.
        """
        for index in [index for index, result in enumerate(self._results) if result is None]:
            detail = f"the batch outgrew its memory and gave this result up; ask for {NDJSON}, and read it at once"
            self._fail(index, detail, 0, {})
        total = len(self._results)
        counts = {**batch.counts(), "ok": total - self._failed, "failed": self._failed}
        head = orjson.dumps({"batch": batch.id, **counts, "results": []}).removesuffix(b"]}")
        pieces: list[bytes | memoryview] = []
        for result in self._results:
            assert result is not None
            pieces += (b",", result)
        return [head, *pieces[1:], b"]}"]

    def _fail(self, index: int, detail: str, attempts: int, timing: dict[str, float]) -> None:
        self._failed += 1
        event = failed_event(index, self._urls[index], Failure("too_large", detail), attempts, timing)
        self._put(index, orjson.dumps(event))

    def _put(self, index: int, line: bytes | memoryview) -> None:
        self._size += len(line)
        self._results[index] = line


def _lines(first: bytes | memoryview = b"", *_: bytes | memoryview) -> Sequence[bytes | memoryview]:
    """Return the events that a reader has read: some, or one that is large and has its parts."""
    return first.splitlines() if isinstance(first, bytes) else (first,)


def _key(request: web.Request, value: Any) -> IdempotencyKey | None:
    """Return what the client's ``Idempotency-Key`` stands for: apart for each owner.

    One with a name keeps its keys when it has a new token, unless that lets it fetch from other hosts.
    """
    key = requested_key(request)
    if key is None:
        return None
    digest = sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).digest()
    grant = request[GRANT]
    # Where no token is needed, a proxy may have checked what is shown. Not the text itself: it would lie in memory,
    # and in every text that shows the key, as long as the batch.
    shown = "" if grant.bearer else request.headers.get("Authorization", "")
    scope = KeyScope(grant.fetch, sha256(shown.encode("utf-8", "replace")).digest())
    return IdempotencyKey(request[OWNER], scope, key, digest)


def _cache_status(caches: Counter[str]) -> str:
    """Say where the results came from (RFC 9211): a hit is a hit when all are; the detail has the counts."""
    counts = {name: count for name, count in sorted(caches.items()) if name != "none"}
    if set(counts) == {"hit"}:
        what = "hit"
    elif set(counts) == {"shared"}:
        what = "fwd=miss; collapsed"
    elif set(counts) == {"revalidated"}:
        what = "fwd=stale; fwd-status=304"
    else:
        what = "fwd=miss"
    return f'sluice; {what}; detail="{" ".join(f"{name}={count}" for name, count in counts.items())}"'
