"""What a step is: a function of a body with typed parameters, a name, and the place where it runs.

A module that is given by ``--steps`` registers its own:

    class Words(msgspec.Struct, forbid_unknown_fields=True):
        at_least: int = 1

    @step("words", Words, runs="process")
    def words(body: Body, parameters: Words) -> Made:
        return Made({"words": len(bytes(body.data).split())})
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from inspect import iscoroutinefunction
from typing import Any, Final, Literal, TypeVar, get_args

import msgspec
import orjson

from service.core.errors import InvalidParams

__all__ = [
    "LARGEST_RESULTS",
    "MOST_STEPS",
    "STEPS",
    "Body",
    "Made",
    "Place",
    "PlannedStep",
    "Product",
    "Step",
    "StepFailed",
    "check_size",
    "plan",
    "result_of",
    "schema_of",
    "sendable",
    "step",
]

Place = Literal["thread", "process"]
"""``thread`` for what waits, or computes without the interpreter's lock; ``process`` for all else."""
MOST_STEPS: Final = 16
"""Steps of one list."""
_PARAMETERS: Final = 64 << 10
"""Bytes of the parameters of a step as JSON: they go to a process in one datagram, with a URL and a type."""
LARGEST_RESULTS: Final = 16 << 20
"""Bytes of JSON that the results of a body may have together: elements in each other, or links with a long base,
make hundreds of times the page, and the service has all of it in memory."""
_LONGEST: Final = 2000
"""Characters of why a step failed: a text that was made of the body may be as long as that."""


class StepFailed(Exception):
    """A body that a step cannot process; the text says why, for the client."""

    def __str__(self) -> str:
        """Return the text as JSON can carry it: no halves of characters, and not too long."""
        return sendable(super().__str__())


def sendable(text: str) -> str:
    """Return a text without lone surrogates, which JSON cannot carry, and not too long."""
    return text[:_LONGEST].encode(errors="backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class Body:
    """What a step gets."""

    data: bytes | memoryview
    """All of it, without content codings."""
    type: str | None
    """Its Content-Type as it came."""
    url: str
    """Where it is from, after redirects; empty where that is not known."""


@dataclass(frozen=True, slots=True)
class Product:
    """Bytes that a step makes: they go into the blob store, or into the result without one."""

    data: bytes | memoryview
    type: str | None
    described: bool = False
    """Whether the result says what its hash, its size, and its type are."""

    def __post_init__(self) -> None:
        """Raise TypeError here, where the traceback names the step, and not where the bytes are passed on."""
        if not isinstance(self.data, bytes | bytearray | memoryview):
            raise TypeError(f"data of a product are bytes, not {type(self.data).__name__}")
        if self.type is not None and not isinstance(self.type, str):
            raise TypeError(f"the type of a product is a text, not {type(self.type).__name__}")


@dataclass(frozen=True, slots=True)
class Made:
    """The outcome of a step: the members of its object, beside ``step``."""

    fields: dict[str, Any] = field(default_factory=dict)
    product: Product | None = None
    tally: bytes = b""
    """What is merged over a batch (``Counts.pieces``, one a line), and is not part of the result.

    Only of a step that ``merges``.
    """

    def __post_init__(self) -> None:
        """Raise TypeError, as :class:`Product` does."""
        if not isinstance(self.tally, bytes):
            raise TypeError(f"a tally is bytes, not {type(self.tally).__name__}")


@dataclass(frozen=True, slots=True)
class Step:
    """A step as it was registered."""

    name: str
    parameters: type[msgspec.Struct]
    runs: Place
    function: Callable[[Body, Any], Made]
    needs_blobs: bool = False
    """Whether it needs a blob store."""
    extra: str | None = None
    imports: str | None = None
    """The extra that it needs, and what that has to have installed."""
    merges: bool = False
    """Whether the step makes tallies; a list of steps has at most one such step."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step with its parameters, checked."""

    step: Step
    parameters: msgspec.Struct


STEPS: Final[dict[str, Step]] = {}
"""All that are registered, by name."""
Parameters = TypeVar("Parameters", bound=msgspec.Struct)
_Function = Callable[[Body, Parameters], Made]


def step(
    name: str,
    parameters: type[Parameters],
    *,
    runs: Place,
    needs_blobs: bool = False,
    extra: str | None = None,
    imports: str | None = None,
    merges: bool = False,
) -> Callable[[_Function[Parameters]], _Function[Parameters]]:
    """Register a function as a step; raises ValueError for a taken name, TypeError for what cannot be a step."""

    def register(function: _Function[Parameters]) -> _Function[Parameters]:
        if name in STEPS:
            raise ValueError(f"a step {name!r} is registered already")
        _check(name, parameters, runs, function)
        STEPS[name] = Step(name, parameters, runs, function, needs_blobs, extra, imports, merges)
        return function

    return register


def _check(name: object, parameters: object, runs: object, function: object) -> None:
    """Raise TypeError at the start for what clients would find later."""
    if not isinstance(name, str) or not name or not name.isprintable():
        raise TypeError(f"the name of a step is a text that can be read, not {name!r}")
    if runs not in get_args(Place):
        raise TypeError(f"step {name}: runs is thread or process, not {runs!r}")
    if not isinstance(parameters, type) or not issubclass(parameters, msgspec.Struct):
        raise TypeError(f"step {name}: the parameters are a msgspec.Struct")
    if iscoroutinefunction(function):
        raise TypeError(f"step {name}: a coroutine function runs in neither a thread nor a process")
    schema_of(parameters)  # for types that JSON does not have


def plan(given: object, *, blobs: bool) -> tuple[PlannedStep, ...]:
    """Check a list of steps as clients write it; raises InvalidParams that names what is wrong."""
    if not isinstance(given, list):
        raise InvalidParams("steps: is a list of objects")
    if not 1 <= len(given) <= MOST_STEPS:
        raise InvalidParams(f"steps: 1 to {MOST_STEPS}, not {len(given)}")
    planned = tuple(_planned(number, one, blobs) for number, one in enumerate(given))
    merging = [one.step.name for one in planned if one.step.merges]
    if len(merging) > 1:
        raise InvalidParams(f"steps: one {merging[0]} step at most, not {len(merging)}")
    return planned


def _planned(number: int, given: object, blobs: bool) -> PlannedStep:
    where = f"steps[{number}]"
    if not isinstance(given, dict) or not isinstance(name := given.get("step"), str):
        raise InvalidParams(f'{where}: is an object with the name of a step as "step"')
    found = STEPS.get(name)
    if found is None:
        raise InvalidParams(f"{where}.step: {name!r} is not one of {', '.join(sorted(STEPS))}")
    rest = {key: _whole(value) for key, value in given.items() if key != "step"}
    if found.imports is not None and find_spec(found.imports) is None:
        raise InvalidParams(f"{where}: {name} needs the extra {found.extra}: install sluice[{found.extra}]")
    if found.needs_blobs and not blobs:
        raise InvalidParams(f"{where}: {name} needs --blobs DIR")
    try:
        parameters = msgspec.convert(rest, found.parameters)
    except msgspec.ValidationError as error:
        raise InvalidParams(f"{where}: {error}") from None
    if len(msgspec.json.encode(parameters)) > _PARAMETERS:
        raise InvalidParams(f"{where}: the parameters have more than {_PARAMETERS:,} bytes")
    return PlannedStep(found, parameters)


def result_of(name: str, made: Made) -> bytes:
    """Return the object of a step as JSON; raises StepFailed for one that is too large."""
    found = orjson.dumps({"step": name, **made.fields})
    check_size(len(found))
    return found


def check_size(size: int) -> None:
    """Raise StepFailed where the results of a body have more bytes than they may have."""
    if size > LARGEST_RESULTS:
        raise StepFailed(f"the results have more than {LARGEST_RESULTS:,} bytes")


def _whole(value: object) -> object:
    """Return 2.0 as 2, which is the same to JSON Schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def schema_of(parameters: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema of a step's parameters."""
    (schema,), definitions = msgspec.json.schema_components((parameters,), ref_template="#/$defs/{name}")
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = definitions[schema["$ref"].rpartition("/")[2]]
    return {**found, "$defs": definitions} if b'"$ref"' in orjson.dumps(found) else found
