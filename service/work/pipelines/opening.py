"""Pipelines, opened as the options say."""

from service.work.pipelines import faceblur
from service.work.pipelines.declaration import read_pipelines
from service.work.pipelines.options import PipelineOptions
from service.work.pipelines.pipelines import Pipelines

__all__ = ["PipelinesUnusable", "open_pipelines"]


class PipelinesUnusable(Exception):
    """Pipelines that cannot be run; the text has a line for everything that is wrong with them."""


def open_pipelines(options: PipelineOptions) -> Pipelines:
    """Read and import what is declared, and add what is shipped; raises PipelinesUnusable."""
    declared, wrong = ([], []) if options.file is None else read_pipelines(options.file)
    if wrong:
        raise PipelinesUnusable("\n".join(wrong))
    missing = {}
    if faceblur.NAME not in {pipeline.name for pipeline in declared}:
        if faceblur.installed():
            declared.append(faceblur.declaration(options.cores))
        else:
            missing[faceblur.NAME] = faceblur.MISSING
    return Pipelines(
        declared,
        options.memory,
        time=options.time,
        process_memory=options.process_memory,
        processes=options.processes,
        missing=missing,
    )
