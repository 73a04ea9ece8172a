"""A watch over plain HTTP: ``GET /watch``."""

from typing import Any, Final

from aiohttp import web

from service.core.errors import InvalidParams, ParseError
from service.core.parsing import convert, parse
from service.core.ports import Backend
from service.core.sessions.messages import WatchRequest
from service.core.topics.hub import Hub
from service.core.topics.topic import default_on_lag
from service.edge.access.credentials import GRANT, OWNER
from service.edge.http.answers import wants_ndjson
from service.edge.http.queries import STREAM, check_query
from service.edge.routes.streams import STREAMS, requested_since, stream_topic

__all__ = ["WatchRoutes"]

_WATCH: Final = ("url", "every", "select", "steps", "on_lag")
_JSON: Final = {"every": "a number of seconds from 1 to 86400", "steps": "a list as JSON"}
_PARAMETERS: Final = (*_WATCH, *STREAM)


class WatchRoutes:
    """The handler; ``add_to`` puts it into an application."""

    def __init__(self, hub: Hub, services: Backend) -> None:
        self._hub = hub
        self._services = services

    def add_to(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_get("/watch", self.watch)

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """Stream what happens to a URL, as SSE, or as NDJSON where the client asks for that."""
        params = _params(request)
        hosts = request[GRANT].watch
        hosts.check_any()
        sse = not wants_ndjson(request)
        # Before its URL is asked for; which epoch it has to come back to is known afterwards.
        request.app[STREAMS].check_newcomer(requested_since(request, "newest"), sse=sse)
        watching = self._services.watch(
            params.url, params.every, params.select, hosts, request[OWNER], params.steps
        )
        try:
            return await stream_topic(
                request,
                self._hub,
                watching.topic,
                since=requested_since(request, watching.since),
                on_lag=params.on_lag or default_on_lag(watching.topic.name),
                sse=sse,
            )
        finally:
            watching.release()


def _params(request: web.Request) -> WatchRequest:
    check_query(request, _PARAMETERS)
    given: dict[str, Any] = {name: value for name, value in request.query.items() if name in _WATCH}
    for name in given.keys() & _JSON.keys():
        try:
            given[name] = parse(given[name].encode())
        except ParseError:
            raise InvalidParams(f"{name}: {_JSON[name]}") from None
    return convert(given, WatchRequest)
