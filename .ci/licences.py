"""``./x licences``: writes docs/licences.md from the metadata of what is installed from the lock."""

import re
import tomllib
from importlib.metadata import Distribution, PackageMetadata, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "licences.md"
# Licence names that metadata spells in its own way, and their SPDX identifiers.
_SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "BSD License": "BSD-3-Clause",
    "PSFL": "PSF-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "GPL-3.0": "GPL-3.0-only",
}
_HEAD = """# Licences

sluice is MIT. Every package of `requirements-dev.lock`, as its metadata has it; `./x licences` writes this file,
and a test compares it with what is installed. What the service needs comes first, then what `sluice-loadtest` needs
beside it, then what only development needs and nobody is handed.

| package | licence | for |
|---|---|---|
"""
_FOOT = """
In this repository, of others: `tests/data/asyncapi/` has the schema of AsyncAPI 3.0.0, cut down (Apache-2.0, with
its LICENSE and NOTICE). `loadtest/page/static/` has uPlot 1.6.32, which every report contains (MIT, with its
licence beside it).
"""


def normal(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> list[str]:
    """Return the packages of the lock."""
    text = (ROOT / "requirements-dev.lock").read_text()
    return [normal(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)]


def licence(found: Distribution) -> str:
    """Return what a package says of its licence: the expression, the field, a classifier, or the file's heading."""
    metadata = found.metadata
    classifiers = [
        line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier") or () if line[:7] == "License"
    ]
    words = _field(metadata, "License").split("\n")[0].split("  ")[0].strip()
    reported = _field(metadata, "License-Expression") or words or " AND ".join(classifiers) or _heading(found)
    return _SPDX.get(reported, reported)


def _field(metadata: PackageMetadata, name: str) -> str:
    """Return a field, or nothing: from Python 3.15 on, asking for one that is missing raises."""
    return metadata[name] if name in metadata else ""  # noqa: SIM401 - its type has no get


def _heading(found: Distribution) -> str:
    for file in found.files or ():
        if "LICENSE" in file.name.upper():
            lines = [line.strip() for line in file.read_text().splitlines()]
            return next(line for line in lines if line)
    return "not stated"


def needed(requirements: list[str]) -> set[str]:
    """Return the packages that these need here, theirs included."""
    found: set[str] = set()
    todo = [Requirement(text) for text in requirements]
    while todo:
        requirement = todo.pop()
        name = normal(requirement.name)
        extras = requirement.extras or {""}
        if name in found or not (requirement.marker is None or requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        for line in distribution(name).requires or ():
            more = Requirement(line)
            if more.marker is None or any(more.marker.evaluate({"extra": extra}) for extra in extras):
                more.marker = None
                todo.append(more)
    return found


def document() -> str:
    """Return the whole document."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    service = needed(project["dependencies"])
    loadtest = needed(project["optional-dependencies"]["loadtest"]) - service
    rows = []
    for name in locked():
        rank, use = (
            (0, "service") if name in service else (1, "loadtest") if name in loadtest else (2, "development")
        )
        try:
            rows.append((rank, f"| {name} | {licence(distribution(name))} | {use} |"))
        except PackageNotFoundError:
            rows.append((3, f"| {name} | | other systems |"))
    return _HEAD + "".join(f"{row}\n" for _, row in sorted(rows)) + _FOOT


if __name__ == "__main__":
    DOCUMENT.write_text(document())
