"""Steps and blobs, opened as the options say."""

import importlib
from collections.abc import Sequence
from typing import Final

from service.runtime.giving_way import GivingWay
from service.runtime.python_path import find_modules_here
from service.work.blobs import Blobs
from service.work.options import StepOptions
from service.work.step_runner import StepRunner
from service.work.worker_pool import WorkerPool

__all__ = ["StepsUnusable", "import_steps", "open_steps"]

_BUILTIN: Final = tuple(
    f"service.work.builtin.{name}" for name in ("count", "digest", "links", "save", "select", "text", "thumbnail")
)


class StepsUnusable(Exception):
    """The blobs, or a module of steps, cannot be used; the text is one line and says what to do."""


async def open_steps(options: StepOptions) -> StepRunner:
    """Import the steps, and open the blobs; raises StepsUnusable."""
    modules = import_steps(options.modules)
    blobs = None
    if options.blobs is not None:
        try:
            blobs = await Blobs.open(options.blobs, options.blobs_size)
        except OSError as error:
            raise StepsUnusable(f"--blobs {options.blobs}: {error.strerror or error}") from error
    gives_way = GivingWay()
    workers = WorkerPool(options.processes, modules, memory=options.memory, gives_way=gives_way)
    return StepRunner(workers, blobs, step_time=options.time, bodies=options.bodies, gives_way=gives_way)


def import_steps(more: Sequence[str] = ()) -> tuple[str, ...]:
    """Register the steps of sluice, and those of more modules; return the names of all these modules."""
    modules = (*_BUILTIN, *more)
    if more:
        find_modules_here()
    for module in modules:
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:
            # It is an operator's code, which may raise anything.
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise StepsUnusable(f"--steps {module}: cannot be imported ({why})") from error
    return modules
