"""The composition: what a service consists of, made in order and closed in the opposite order."""

from service.app.composition import running
from service.app.service import Service

__all__ = ["Service", "running"]
