"""The routes of health: ``/healthz`` says whether the service is alive, ``/readyz`` whether it accepts clients."""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import orjson
from aiohttp import web

from service.core.errors import StorageFailed
from service.core.overload import Level, Overload
from service.edge.http.correlation import add_request_id
from service.edge.http.problems import refusal

__all__ = ["HealthRoutes", "starting_application"]


class StorageHealth(Protocol):
    """What keeps things on disk."""

    @property
    def failing(self) -> str:
        """Say what has not worked for a while; empty where all does."""
        ...


class HealthRoutes:
    """``/healthz`` says that the loop turns; ``/readyz`` says 503 while the service takes nobody.

    ``shortage`` says what some clients wait for though the service takes others; empty where nobody does.
    """

    def __init__(
        self,
        draining: Callable[[], bool],
        overload: Overload,
        shortage: Callable[[], str],
        storage: StorageHealth,
    ) -> None:
        self._draining = draining
        self._storage = storage
        self._overload = overload
        self._shortage = shortage

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/healthz", self.alive)
        app.router.add_get("/readyz", self.ready)

    async def alive(self, request: web.Request) -> web.Response:
        """Answer at all."""
        return _state(200, "alive")

    async def ready(self, request: web.Request) -> web.Response:
        """Say whether new clients are taken, and what is short."""
        if self._draining():
            return _state(503, "draining")
        if failing := self._storage.failing:
            return _state(503, failing)
        level = self._overload.level
        reasons = [reason for reason in (self._overload.why, self._shortage()) if reason]
        state = _STATES[max(level, Level.SLOW) if reasons else level]
        return _state(503 if level >= Level.REFUSE else 200, state, ", ".join(reasons))


def starting_application() -> web.Application:
    """Return the application that answers during the start: the service is alive, and accepts no clients yet."""
    app = web.Application(middlewares=[_refuse_others])
    app.on_response_prepare.append(add_request_id)

    async def alive(request: web.Request) -> web.Response:
        return _state(200, "alive")

    async def ready(request: web.Request) -> web.Response:
        return _state(503, "starting", "the data directory is being read")

    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    return app


@web.middleware
async def _refuse_others(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse every request for which the application has no route."""
    if request.match_info.http_exception is None:
        return await handler(request)
    return refusal(StorageFailed("storage: the service is starting and reads its data; try again"), request)


_STATES: Final = {
    Level.NORMAL: "ready", Level.SLOW: "slow", Level.REFUSE: "overloaded", Level.SHED: "overloaded",
}  # fmt: skip


def _state(status: int, state: str, why: str = "") -> web.Response:
    body = {"status": state, "why": why} if why else {"status": state}
    headers = {"Cache-Control": "no-store"}
    if status == 503:
        # As with every other 503, for proxies that send to another instance what this one does not take.
        headers |= {"Retry-After": "1", "Sluice-Reason": state}
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json", headers=headers)
