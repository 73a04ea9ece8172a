"""One request to an upstream, and what holds for all requests that are made together."""

from typing import Annotated, Any, Literal

import msgspec

__all__ = ["BodyMode", "FetchRequest", "Options"]

BodyMode = Literal["auto", "text", "base64", "none"]


class FetchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request of a batch."""

    url: str
    method: str | None = None
    headers: dict[str, str] | None = None
    body: str | None = None


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds for every request of a batch; sizes in bytes, times in seconds."""

    body: BodyMode | msgspec.UnsetType = msgspec.UNSET
    """Where it is not given: ``auto``, and ``none`` for a body on which steps were carried out."""
    max_bytes: Annotated[int, msgspec.Meta(ge=0, le=64 << 20)] = 1 << 20
    timeout: Annotated[float, msgspec.Meta(gt=0, le=300)] = 10.0
    retries: Annotated[int, msgspec.Meta(ge=0, le=10)] = 2
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100
    redirects: Annotated[int, msgspec.Meta(ge=0, le=20)] = 5
    cache: Literal["default", "reload", "no-store", "only-if-cached"] = "default"
    headers: dict[str, str] = {}
    method: str = "GET"
    steps: list[dict[str, Any]] | None = None
    """What is carried out on each whole body of a 2xx answer."""

    @property
    def want_body(self) -> bool:
        """Whether bodies are needed at all."""
        return self.body != "none" or self.steps is not None

    def runs_steps(self, status: int) -> bool:
        """Return whether the body of an answer with this status goes through steps; a part of one does not."""
        return self.steps is not None and 200 <= status < 300 and status != 206

    def mode(self, status: int) -> BodyMode:
        """Return how the event of an answer with this status has its body."""
        if self.body is msgspec.UNSET:
            return "none" if self.runs_steps(status) else "auto"
        return self.body
