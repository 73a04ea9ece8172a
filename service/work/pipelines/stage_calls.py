"""What the service and the process of a stage have in common: how a call is named, and what goes there and back.

The step itself is in ``in_process.py``, which worker processes alone import: a step that is registered in the
service can be asked for by clients, and this one calls any function.
"""

import importlib
from collections.abc import Callable
from typing import Any, Final

__all__ = ["BYTES", "PICKLED", "STEP", "WORKER", "function_of"]

WORKER: Final = "service.work.pipelines.in_process"
"""The module of the worker processes."""
STEP: Final = "stage"
BYTES: Final = "application/octet-stream"
PICKLED: Final = "application/x-pickle"


def function_of(run: str) -> Callable[[Any], Any]:
    """Return a function by its name; raises TypeError if it is not callable, and any error of the import."""
    module, _, name = run.partition(":")
    found: object = getattr(importlib.import_module(module), name)
    if not callable(found):
        raise TypeError(f"{name} is not a function")
    return found
