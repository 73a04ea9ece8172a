"""The two documents that describe the service, made once from its limits and the types that it uses."""

import orjson
from aiohttp import web

from service.core.fetching.batch import BatchLimits
from service.edge.description.asyncapi import asyncapi
from service.edge.description.openapi import openapi

__all__ = ["DocumentRoutes"]


class DocumentRoutes:
    """``/openapi.json`` and ``/asyncapi.json``."""

    def __init__(self, limits: BatchLimits, *, token: bool) -> None:
        self._openapi = orjson.dumps(openapi(limits, token=token))
        self._asyncapi = orjson.dumps(asyncapi(limits, token=token))

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/openapi.json", self.openapi)
        app.router.add_get("/asyncapi.json", self.asyncapi)

    async def openapi(self, request: web.Request) -> web.Response:
        """Answer with the routes' document."""
        return web.Response(body=self._openapi, content_type="application/json")

    async def asyncapi(self, request: web.Request) -> web.Response:
        """Answer with the WebSocket's document."""
        return web.Response(body=self._asyncapi, content_type="application/json")
