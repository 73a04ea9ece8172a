"""The functions that jobs run, and the context that they are given.

from service.jobs import job

@job(retries=3, timeout=60)
def resize(path: str, context: Context) -> dict[str, int]:
    context.progress(1, 2, "decoded")
    ...
"""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, Final, Protocol, TypeVar, overload

import msgspec

from service.core.jobs.request import JobName, Retries, Timeout

__all__ = ["JOBS", "Context", "Function", "Reporter", "job"]

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


class Reporter(Protocol):
    """Where a function's progress goes."""

    @property
    def cancelled(self) -> bool:
        """Whether the job was cancelled: its function is asked to stop."""
        ...

    def report(self, progress: dict[str, Any]) -> None:
        """Pass progress on; may wait until what was reported before has been stored."""
        ...


class Context:
    """What a function is given that has a parameter ``context``."""

    def __init__(self, job: str, attempt: int, key: str, reporter: Reporter) -> None:
        self.job = job
        """The id of its job."""
        self.attempt = attempt
        """1 for the first."""
        self.key = key
        """The same for every attempt, so that a function can make its effects idempotent."""
        self._reporter = reporter

    def __repr__(self) -> str:
        return f"<Context of attempt {self.attempt}>"

    def progress(
        self, done: float | None = None, total: float | None = None, message: str | None = None, *, data: Any = None
    ) -> None:
        """Say how far it is, or anything that JSON has a form for as ``data``."""
        given = {"done": done, "total": total, "message": message, "data": data}
        self._reporter.report({name: value for name, value in given.items() if value is not None})

    @property
    def cancelled(self) -> bool:
        """Whether the job was cancelled; its process is killed 10 s later."""
        return self._reporter.cancelled


@dataclass(frozen=True, slots=True)
class Function:
    """A function as it was registered."""

    name: str
    call: Callable[..., Any]
    retries: int | None
    timeout: float | None
    wants_context: bool


JOBS: Final[dict[str, Function]] = {}
"""All that are registered, by name."""


@overload
def job(function: AnyFunction, /) -> AnyFunction: ...


@overload
def job(
    *, name: str | None = None, retries: int | None = None, timeout: float | None = None
) -> Callable[[AnyFunction], AnyFunction]: ...


def job(
    function: AnyFunction | None = None,
    /,
    *,
    name: str | None = None,
    retries: int | None = None,
    timeout: float | None = None,
) -> AnyFunction | Callable[[AnyFunction], AnyFunction]:
    """Register a function, under its own name or another; it may be an ``async def``.

    ``retries`` (5) is how often a failed attempt is made again, ``timeout`` (600) the seconds for one attempt; a
    request may override both. Raises ValueError for a name that is taken, and for values that a request could not
    have.
    """

    def register(function: AnyFunction) -> AnyFunction:
        named = name or str(getattr(function, "__name__", ""))
        _check(named, retries, timeout)
        if named in JOBS:
            raise ValueError(f"a job {named!r} is registered already")
        JOBS[named] = Function(named, function, retries, timeout, "context" in signature(function).parameters)
        return function

    return register if function is None else register(function)


def _check(name: object, retries: object, timeout: object) -> None:
    """Raise ValueError for values that a request could not have either."""
    for what, value, kind, text in (
        ("name", name, JobName, "a text of 1 to 128 characters"),
        ("retries", retries, Retries | None, "a whole number from 0 to 100"),
        ("timeout", timeout, Timeout | None, "a number of seconds above 0, at most 86400"),
    ):
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            raise ValueError(f"@job: {what} is {text}, and not {value!r:.80}") from None
