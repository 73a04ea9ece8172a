"""The two documents that describe the service, made from its limits and the types that it uses."""

from functools import cached_property

import orjson
from aiohttp import web

from service.core.fetching.batch import BatchLimits
from service.edge.description.asyncapi import asyncapi
from service.edge.description.openapi import openapi

__all__ = ["DocumentRoutes"]


class DocumentRoutes:
    """``/openapi.json`` and ``/asyncapi.json``: each is made when it is first asked for, in 5 ms, and kept."""

    def __init__(self, limits: BatchLimits, *, token: bool) -> None:
        self._limits = limits
        self._token = token

    @cached_property
    def _openapi(self) -> bytes:
        return orjson.dumps(openapi(self._limits, token=self._token))

    @cached_property
    def _asyncapi(self) -> bytes:
        return orjson.dumps(asyncapi(self._limits, token=self._token))

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
