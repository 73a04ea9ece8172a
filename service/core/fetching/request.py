"""One request to an upstream, and what holds for all requests that are made together."""

from typing import Annotated, Literal

import msgspec

__all__ = ["FetchRequest", "Options"]


class FetchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request of a batch."""

    url: str
    method: str | None = None
    headers: dict[str, str] | None = None
    body: str | None = None


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for every request of a batch; sizes in bytes, times in seconds."""

    body: Literal["auto", "text", "base64", "none"] = "auto"
    max_bytes: Annotated[int, msgspec.Meta(ge=0, le=64 << 20)] = 1 << 20
    timeout: Annotated[float, msgspec.Meta(gt=0, le=300)] = 10.0
    retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100
    redirects: Annotated[int, msgspec.Meta(ge=0, le=20)] = 5
    cache: Literal["default", "reload", "no-store", "only-if-cached"] = "default"
    headers: dict[str, str] = {}
    method: str = "GET"
