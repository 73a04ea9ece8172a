"""Alive, and accepting."""

from collections.abc import Callable

import orjson
from aiohttp import web

__all__ = ["HealthRoutes"]


class HealthRoutes:
    """``/healthz`` says that the loop turns; ``/readyz`` says 503 as soon as the service drains."""

    def __init__(self, draining: Callable[[], bool]) -> None:
        self._draining = draining

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/healthz", self.alive)
        app.router.add_get("/readyz", self.ready)

    async def alive(self, request: web.Request) -> web.Response:
        """Answer at all."""
        return _state(200, "alive")

    async def ready(self, request: web.Request) -> web.Response:
        """Say whether new clients are taken."""
        return _state(503, "draining") if self._draining() else _state(200, "ready")


def _state(status: int, state: str) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    if status == 503:
        headers["Retry-After"] = "1"
    return web.Response(
        status=status, body=orjson.dumps({"status": state}), content_type="application/json", headers=headers
    )
