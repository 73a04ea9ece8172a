"""The report's files: each is there whole, or as it was before."""

import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from loadtest.exports import EXPORTS
from loadtest.page.document import render
from loadtest.report import RunReport

__all__ = ["written"]

_PART = ".part"


def written(report: RunReport, options: Namespace) -> list[str]:
    """Write the files that were asked for; return what kept some of them from being written."""
    wrong = []
    for name, form in _forms(report):
        path = getattr(options, name)
        if path:
            try:
                _write(Path(path), form())
            except OSError as error:
                wrong.append(f"--{name}: {path} cannot be written: {error.strerror}")
    return wrong


def _forms(report: RunReport) -> Iterator[tuple[str, Callable[[], bytes]]]:
    yield "json", lambda: orjson.dumps(report.document(), option=orjson.OPT_INDENT_2)
    yield "html", lambda: render(report).encode()
    for name, export in EXPORTS.items():
        yield name, lambda export=export: report.secrets.masked(export(report)).encode()  # type: ignore[misc]


def _write(path: Path, content: bytes) -> None:
    if path.exists() and not path.is_file():
        # A pipe or a device.
        path.write_bytes(content)
        return
    target = path.resolve()
    part = target.with_name(target.name + _PART)
    try:
        part.write_bytes(content)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
