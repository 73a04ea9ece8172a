"""A worker of the service with a visibility timeout of Redis that is far too short for what it runs."""

from bench.jobs.celery_alone import SHORT
from service.jobs.worker import app

__all__ = ["app"]

app.conf.broker_transport_options |= {"visibility_timeout": SHORT}
