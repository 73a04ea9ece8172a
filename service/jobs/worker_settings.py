"""What a worker reads from its environment."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from service.runtime.bounded_files import read_certificates

__all__ = ["WorkerSettings", "WorkerUnusable", "read_settings"]

_MEMORY: Final = 2 << 30


class WorkerUnusable(Exception):
    """Something is missing or wrong; the text has a line for each."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Where the broker and the service are, and which functions there are."""

    broker: str
    module: str
    url: str
    tls: ssl.SSLContext | None
    memory: int


def read_settings(environ: Mapping[str, str]) -> WorkerSettings:
    """Return the settings; raise WorkerUnusable with all that is wrong."""
    wrong: list[str] = []

    def needed(name: str, what: str) -> str:
        value = environ.get(name, "").strip()
        if not value:
            wrong.append(f"{name} is missing: {what}")
        return value

    broker = needed("SLUICE_CELERY", "the URL of the broker, the same as that of the service's --celery")
    module = needed("SLUICE_JOBS", "the module with the functions, the same as that of the service's --jobs")
    url = needed("SLUICE_URL", "the URL of the service, such as http://sluice.internal:8080")
    if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
        wrong.append(f"SLUICE_URL: {url} is not an http or https URL")
    tls = _tls(environ.get("SLUICE_CA"), wrong)
    memory = _memory(environ.get("SLUICE_JOB_MEMORY"), wrong)
    if wrong:
        raise WorkerUnusable("\n".join(wrong))
    return WorkerSettings(broker, module, url, tls, memory)


def _tls(path: str | None, wrong: list[str]) -> ssl.SSLContext | None:
    if not path:
        return None
    try:
        return ssl.create_default_context(cadata=read_certificates(path))
    except OSError as error:
        wrong.append(f"SLUICE_CA: {path} cannot be used as a file of certificates (PEM): {error}")
        return None


def _memory(text: str | None, wrong: list[str]) -> int:
    if not text:
        return _MEMORY
    if not text.isdecimal():
        wrong.append(f"SLUICE_JOB_MEMORY: {text} is not a number of bytes")
        return 0
    return int(text)
