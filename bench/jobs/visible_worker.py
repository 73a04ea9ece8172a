"""A worker of the service whose visibility timeout of Redis is far too short for the functions that it runs."""

from bench.jobs.celery_alone import SHORT
from service.jobs.worker import app

__all__ = ["app"]

app.conf.broker_transport_options |= {"visibility_timeout": SHORT}
