"""Which pipelines there are, and how clients come to one."""

from typing import Final, get_args

import msgspec
from aiohttp import web

from service.core.access.grants import Grant
from service.core.errors import InvalidParams
from service.core.owner import Owner
from service.core.pool import Pool
from service.core.topics.hub import Hub
from service.core.topics.names import check_writable
from service.edge.http.answers import json_answer
from service.edge.http.queries import check_query
from service.edge.pipelines.client import PipelineClient
from service.edge.websocket.conversation import Conversation, message_turns
from service.edge.websocket.endpoint import Serve
from service.work.pipelines.declaration import PipelineList
from service.work.pipelines.pipeline import Full
from service.work.pipelines.pipelines import Pipelines

__all__ = ["PipelineRoutes"]

_FULL: Final[tuple[Full, ...]] = get_args(Full)


class PipelineRoutes:
    """The list of all pipelines, and the entrance to each, behind the checks of every WebSocket."""

    def __init__(self, hub: Hub, pipelines: Pipelines, runs: int, *, patience: float) -> None:
        self.pool = Pool("pipelines", runs, eager=4, strict=True, advice="close some")
        """Whose clients of pipelines there are."""
        self.frames = pipelines.memory.pool
        """Whose items are under way, in bytes."""
        self._hub = hub
        self._pipelines = pipelines
        self._conversation = Conversation(hub.clock, message_turns())
        self._patience = patience

    def __repr__(self) -> str:
        return f"<PipelineRoutes {self._pipelines!r}>"

    async def list(self, request: web.Request) -> web.Response:
        """Answer with all pipelines and their stages."""
        declared = sorted(self._pipelines.declared.values(), key=lambda one: one.declaration.name)
        return json_answer(msgspec.json.encode(PipelineList([one.declaration for one in declared])))

    def open(self, request: web.Request, grant: Grant, owner: Owner) -> Serve:
        """Return what serves a client; raises Forbidden, NotFound, InvalidParams, LimitReached."""
        grant.fetch.check_any()
        declared = self._pipelines.find(request.match_info["name"])
        check_query(request, ("to", "full"))
        topic = request.query.get("to")
        if topic is not None:
            check_writable(topic)
            grant.publish.check(topic)
        full = next((one for one in _FULL if one == request.query.get("full", "block")), None)
        if full is None:
            raise InvalidParams(f"full: is one of {', '.join(_FULL)}")
        self.pool.check(owner)
        client = PipelineClient(
            self._pipelines, declared, self._hub, self._conversation, owner,
            topic=topic, full=full, patience=self._patience,
        )  # fmt: skip
        return client.serve
