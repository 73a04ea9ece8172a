"""The schemas of all that is said, for both documents: JSON Schema made from the types that read and answer."""

from typing import Any, Final

import msgspec

from service.core import errors, events
from service.core.errors import SluiceError
from service.core.fetching.batch import BatchLimits, BatchRequest
from service.core.fetching.headers import HEADER_NAME, HEADER_VALUE, MOST_HEADERS, OUR_HEADERS, OUR_PREFIXES
from service.core.jobs import answers as jobs
from service.work import answers
from service.work.pipelines.declaration import PipelineList
from service.work.step import MOST_STEPS, STEPS

__all__ = ["ERRORS", "components", "ref"]

_REF: Final = "#/components/schemas/{name}"
_ANSWERS: Final[tuple[type, ...]] = (
    *(getattr(module, name) for module in (events, answers, jobs) for name in module.__all__),
    PipelineList,
)
ERRORS: Final[tuple[type[SluiceError], ...]] = tuple(
    getattr(errors, name) for name in errors.__all__ if name != "SluiceError"
)
"""Everything that is refused, as core/errors.py lists it."""


def ref(kind: type | str) -> dict[str, Any]:
    """Return the reference to a type's schema."""
    return {"$ref": _REF.format(name=kind if isinstance(kind, str) else kind.__name__)}


def components(limits: BatchLimits, *more: type) -> dict[str, Any]:
    """Return the schemas by name: of all answers, of a batch, and of ``more`` that is read.

    What we answer with may get further fields; what we read may not.
    """
    _, read = msgspec.json.schema_components([BatchRequest, *more], ref_template=_REF)
    _, schemas = msgspec.json.schema_components([*_ANSWERS, BatchRequest, *more], ref_template=_REF)
    for name in schemas.keys() - read.keys():
        schemas[name].pop("additionalProperties", None)
    _bound(schemas, limits)
    return schemas


def _bound(schemas: dict[str, Any], limits: BatchLimits) -> None:
    """Add what ``check_request`` sees to, with the operator's limits."""
    batch, options = schemas["BatchRequest"], schemas["Options"]["properties"]
    for name in ("urls", "requests"):
        batch["properties"][name]["anyOf"][0] |= {"minItems": 1, "maxItems": limits.urls}
    batch["oneOf"] = [
        {"required": [given], "properties": {given: {"type": "array"}, other: {"type": "null"}}}
        for given, other in (("urls", "requests"), ("requests", "urls"))
    ]
    options["body"]["description"] = "auto where it is missing, and none for a body that goes through steps"
    options["steps"]["anyOf"][0] |= {
        "minItems": 1,
        "maxItems": MOST_STEPS,
        "items": {
            "type": "object",
            "description": "a step by its name, with its parameters beside it; GET /steps has their schemas",
            "properties": {"step": {"enum": sorted(STEPS)} if STEPS else {"type": "string"}},
            "required": ["step"],
        },
    }
    options["method"] = {"enum": sorted(limits.methods), "default": "GET"}
    options["headers"] |= {
        "maxProperties": MOST_HEADERS,
        "propertyNames": {"pattern": f"^{HEADER_NAME.pattern}$", "not": {"pattern": _ours()}},
        "additionalProperties": {"type": "string", "pattern": f"^{HEADER_VALUE.pattern}$"},
    }


def _ours() -> str:
    """Return the pattern of the headers that no client sets, with any sign for ``-``, as check_headers has it.

    JSON Schema's patterns know no flags.
    """
    names = [_any_case(name) + "$" for name in sorted(OUR_HEADERS)]
    return f"^({'|'.join([*names, *map(_any_case, OUR_PREFIXES)])})"


def _any_case(text: str) -> str:
    return "".join(
        f"[{char.upper()}{char}]" if char.isalpha() else char if char.isdigit() else "[^A-Za-z0-9]" for char in text
    )
