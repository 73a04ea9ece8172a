"""How pipelines are declared, in a file of TOML, and what is wrong with one that cannot run."""

import inspect
import re
import tomllib
from collections.abc import Iterable
from typing import Annotated, Final, Literal

import msgspec

from service.runtime.bounded_files import DOCUMENT, read_bounded
from service.runtime.python_path import find_modules_here
from service.work.pipelines.stage_calls import function_of

__all__ = ["PipelineDeclaration", "PipelineList", "StageDeclaration", "check_functions", "read_pipelines"]

_MOST_STAGES: Final = 16
_RUN: Final = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


class StageDeclaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stage: its function, where it runs, how many values are in it at a time, and how many wait for it."""

    run: Annotated[str, msgspec.Meta(pattern=_RUN)]
    """MODULE:FUNCTION."""
    name: Annotated[str, msgspec.Meta(pattern=r"^[\w.-]{0,64}$")] = ""
    """The function's, where nothing else is given."""
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    place: Literal["loop", "thread", "process"] = "process"
    queue: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 4

    def __post_init__(self) -> None:
        """Name it."""
        if not self.name:
            msgspec.structs.force_setattr(self, "name", self.run.partition(":")[2])


class PipelineDeclaration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pipeline: its name, and its stages in order."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    stages: Annotated[list[StageDeclaration], msgspec.Meta(min_length=1, max_length=_MOST_STAGES)]


class PipelineList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All pipelines: the file has what ``GET /pipelines`` answers."""

    pipelines: list[PipelineDeclaration]


def read_pipelines(path: str) -> tuple[list[PipelineDeclaration], list[str]]:
    """Return the pipelines of a file, and a line for everything that is wrong with them."""
    try:
        read = msgspec.convert(tomllib.loads(read_bounded(path, DOCUMENT).decode()), PipelineList)
    except OSError as error:
        return [], [f"--pipelines: {path} cannot be read ({error.strerror}): look at its name and permissions"]
    except UnicodeDecodeError:
        return [], [f"--pipelines: {path} is not UTF-8"]
    except tomllib.TOMLDecodeError as error:
        return [], [f"--pipelines: {path} is not TOML: {error}"]
    except msgspec.ValidationError as error:
        return [], [f"--pipelines: {path}: {_plain(str(error))}"]
    return read.pipelines, [f"--pipelines: {path}: {line}" for line in _wrong(read.pipelines)]


def _plain(text: str) -> str:
    """Return an error of msgspec with paths as people write them."""
    return re.sub(r"`\$\.?([^`]*)`", r"\1", text)


def _wrong(pipelines: Iterable[PipelineDeclaration]) -> list[str]:
    wrong: list[str] = []
    seen: set[str] = set()
    for pipeline in pipelines:
        if pipeline.name in seen:
            wrong.append(f"two pipelines are called {pipeline.name}")
        seen.add(pipeline.name)
        names = [stage.name for stage in pipeline.stages]
        wrong.extend(
            f"pipeline {pipeline.name}: two stages are called {name}: give one of them another name"
            for name in sorted({name for name in names if names.count(name) > 1})
        )
        wrong.extend(check_functions(pipeline))
    return wrong


def check_functions(pipeline: PipelineDeclaration) -> list[str]:
    """Import the functions of a pipeline; return a line for each that cannot be used."""
    find_modules_here()
    wrong = []
    for stage in pipeline.stages:
        where = f"pipeline {pipeline.name}, stage {stage.name}: {stage.run}"
        try:
            function = function_of(stage.run)
        except Exception as error:
            # It is an operator's code, which may raise anything.
            wrong.append(f"{where} cannot be used ({type(error).__name__}: {error})")
            continue
        if inspect.iscoroutinefunction(function) and stage.place != "loop":
            wrong.append(f'{where} is a coroutine function, which runs with place = "loop" alone')
    return wrong
