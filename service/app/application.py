"""The routes of a service, in one application of aiohttp."""

from aiohttp import web

from service.app.service import Service
from service.config.limits import batch_limits
from service.edge.access.middleware import add_cors
from service.edge.access.origins import isolate
from service.edge.http.correlation import add_request_id
from service.edge.http.large_json import LARGE_JSON, LargeJson
from service.edge.http.problems import complete_refusal
from service.edge.http.request_body import MEMORY
from service.edge.routes.batches import BatchRoutes
from service.edge.routes.documents import DocumentRoutes
from service.edge.routes.health import HealthRoutes
from service.edge.routes.job_attempts import AttemptRoutes
from service.edge.routes.jobs import JobRoutes
from service.edge.routes.page import PageRoutes
from service.edge.routes.steps import StepRoutes
from service.edge.routes.streams import STREAMS
from service.edge.routes.topics import TopicRoutes
from service.edge.routes.watches import WatchRoutes
from service.edge.websocket.echo import EchoBodies

__all__ = ["application_of"]


def application_of(service: Service) -> web.Application:
    """Return an application with all routes but that of the metrics."""
    settings = service.settings
    app = web.Application(middlewares=[service.access.middleware()], client_max_size=settings.batch_size)
    app[STREAMS] = service.streams
    app[MEMORY] = service.memory
    app[LARGE_JSON] = LargeJson()
    app.on_response_prepare.extend((complete_refusal, add_cors, isolate, add_request_id))
    app.router.add_get("/ws", service.sockets.handle, allow_head=False)
    app.router.add_get("/pipelines", service.pipelines.list)
    app.router.add_get("/pipelines/{name:[^/]+}", service.pipeline_sockets.handle, allow_head=False)
    if settings.echo_route:
        app.router.add_get("/echo", service.endpoints["/echo"].handle, allow_head=False)
        app.router.add_post("/", EchoBodies(settings.message_size, settings.body_time).handle)
    batches, storage = service.batches, service.storage
    HealthRoutes(lambda: service.draining, service.overload, lambda: batches.shortage, storage).add_to(app)
    hub, body_time = service.hub, settings.body_time
    BatchRoutes(hub, batches, body_size=settings.batch_size, body_time=body_time).add_to(app)
    TopicRoutes(hub, body_size=settings.message_size, body_time=body_time).add_to(app)
    WatchRoutes(service.hub, service).add_to(app)
    StepRoutes(service.steps, body_size=settings.batch_size, body_time=body_time).add_to(app)
    JobRoutes(hub, service.jobs, body_size=settings.batch_size, body_time=body_time).add_to(app)
    AttemptRoutes(service.jobs, body_time=body_time).add_to(app)
    DocumentRoutes(batch_limits(settings), token=service.credentials.needed).add_to(app)
    PageRoutes().add_to(app)
    return app
