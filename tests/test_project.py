"""What the documents say is so: commands, options, tables, and the steps of the Dockerfile."""

import argparse
import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import msgspec
import orjson
import pytest

from service import __version__
from service.commands import count, fetch, token
from service.config.configuration import add_options
from service.config.limits import client_limits
from service.config.settings import Settings
from service.core import errors, events
from service.core.access import grants
from service.core.fetching.outcome import FailureKind
from service.core.fetching.request import Options
from service.core.overload import rules
from service.core.sessions.closing import CLOSINGS, Reconnect
from service.core.sessions.session import _METHODS, SessionLimits
from service.edge.description.asyncapi import NOTIFICATIONS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table after a heading or a phrase."""
    found = re.search(r"((?:^\|.*\n)+)", text[text.index(heading) :], re.MULTILINE)
    assert found, heading
    lines = [line.strip("|").split("|") for line in found[1].splitlines()]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert README.count("\n") < 150
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "ARCHITECTURE.md"]:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            assert link.startswith("https://") or (document.parent / link).exists(), f"{document.name}: {link}"


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^    \./x (\w+)", README, re.MULTILINE))))
def test_every_command_of_the_readme_exists(command: str) -> None:
    assert re.search(rf"^    {command}\b.*\)", (ROOT / "x").read_text(), re.MULTILINE), command


def test_the_python_of_the_readme_parses_and_its_json_is_json() -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        ast.parse(block)
    bodies = re.findall(r"-d '(\{.*?\})'", README)
    assert len(bodies) == 2
    for body in bodies:
        orjson.loads(body)


def test_the_options_that_the_documents_name_exist() -> None:
    known = set()
    for options in (add_options, token.add_options):
        parser = argparse.ArgumentParser()
        options(parser)
        known |= {option for action in parser._actions for option in action.option_strings}
    text = (ROOT / "docs" / "operations.md").read_text() + PROTOCOL
    for option in set(re.findall(r"`(--[a-z-]+)", text)):
        assert option in known, option


@pytest.mark.parametrize(("page", "command"), [("fetch.md", fetch), ("counting.md", count)])
def test_the_options_and_exit_codes_of_a_page_are_those_of_the_command(page: str, command: ModuleType) -> None:
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    known = {option for action in parser._actions for option in action.option_strings}
    text = (ROOT / "docs" / page).read_text()
    for option in set(re.findall(r"(--[a-z][a-z-]+)", text)):
        assert option in known | {"--help"}, option
    assert parser.epilog
    for code, *_ in rows(text, "## Exit codes"):
        assert re.search(rf"^  {code} ", parser.epilog, re.MULTILINE), code


def test_the_protocol_lists_every_method() -> None:
    assert {row[0].strip("`") for row in rows(PROTOCOL, "| method | params | result |")} == set(_METHODS)


def test_the_protocol_lists_every_claim() -> None:
    listed = {
        name.strip("` ") for row in rows(PROTOCOL, "| claim | value | grants |") for name in row[0].split(",")
    }
    ours = {field.name for field in msgspec.structs.fields(grants._Claims)}
    assert listed == ours | {"nbf", "iat", "aud", "iss"}
    limits = {field.name for field in msgspec.structs.fields(grants.ClientLimits)}
    for name in limits:
        assert f'"{name}"?' in PROTOCOL


def test_the_protocol_lists_every_error() -> None:
    classes = [getattr(errors, name) for name in errors.__all__ if name != "SluiceError"]
    ours = {(str(cls.code), f"`{cls.reason}`", str(cls.status)) for cls in classes}
    assert {(row[0], row[1], row[3]) for row in rows(PROTOCOL, "### Errors")} == ours


def test_the_protocol_lists_every_close_code() -> None:
    ours = [[str(closing.code), closing.reason, closing.reconnect.value] for closing in CLOSINGS]
    assert rows(PROTOCOL, "### Close codes") == ours


def test_the_javascript_module_knows_every_close_code() -> None:
    module = (ROOT / "service" / "edge" / "static" / "sluice.js").read_text()
    known = {
        name: {int(code) for code in codes.split(",")}
        for name, codes in re.findall(r"const (\w+_\w+) = new Set\(\[([\d, ]+)\]\)", module)
    }
    names = {
        Reconnect.NOW: "BACK_AT_ONCE",
        Reconnect.LATER: "BACK_LATER",
        Reconnect.FIXED: "NEVER_BACK",
        Reconnect.RENEWED: "NEVER_BACK",
    }
    ours: dict[str, set[int]] = {name: set() for name in names.values()}
    ours["NEVER_BACK"].add(4403)  # the contract's, for services that have operators who disconnect clients
    for closing in CLOSINGS:
        ours[names[closing.reconnect]].add(closing.code)
    assert known == ours


def test_the_javascript_section_lists_every_call() -> None:
    module = (ROOT / "service" / "edge" / "static" / "sluice.js").read_text()
    public = set(
        re.findall(r"^  (?:async )?(\w+)\(.*\{$", module[module.index("export class Sluice ") :], re.MULTILINE)
    )
    section = (ROOT / "docs" / "clients.md").read_text().split("## JavaScript")[1]
    listed = {row[0].removeprefix("`new ").strip("`").split("(")[0] for row in rows(section, "| call | gives |")}
    assert listed - {"Sluice"} == public - {"constructor", "resume", "leave", "catch", "while"}


def test_the_protocol_lists_every_notification_and_its_fields() -> None:
    listed = {row[0].strip("`"): row[1] for row in rows(PROTOCOL, "Notifications to the client")}
    assert listed.keys() == NOTIFICATIONS.keys()
    for name, kind in NOTIFICATIONS.items():
        for field in msgspec.structs.fields(kind):
            assert f"`{field.encode_name}`" in listed[name], f"{name}: {field.encode_name}"


def test_the_protocol_lists_every_kind_of_failure() -> None:
    listed = re.search(r"`error` is\none of ((?:`\w+`[,.]\s)+)", PROTOCOL)
    assert listed
    assert re.findall(r"`(\w+)`", listed[1]) == list(get_args(FailureKind))


def test_the_protocol_lists_every_option_of_a_batch_with_its_default() -> None:
    listed = {
        name: row[1] for row in rows(PROTOCOL, "| option | default | |") for name in row[0].strip("`").split("`, `")
    }
    assert listed.keys() == {field.name for field in msgspec.structs.fields(Options)}
    for name, reported in listed.items():
        default = getattr(Options(), name)
        shown = (
            {1 << 20: "1 MiB", 10.0: "10 s", None: "", msgspec.UNSET: "auto"}.get(default, default)
            if not isinstance(default, dict)
            else ""
        )
        assert reported.strip("`") in ("", str(shown)), name


def test_the_protocol_shows_every_field_of_an_event() -> None:
    """Of the events of batches and watches: each is shown once, in full."""
    for kind in (
        events.Result,
        events.Failed,
        events.Done,
        events.WatchState,
        events.WatchError,
        events.WatchRecovered,
    ):
        tag = f'{{"event":"{kind.__struct_config__.tag}"'
        shown = PROTOCOL[PROTOCOL.index(tag) :]
        shown = shown[: re.search(r"\}\n(?!\s+\")", shown).end()]
        for field in msgspec.structs.fields(kind):
            if field.required:
                assert f'"{field.encode_name}":' in shown, f"{tag}: {field.encode_name}"


def test_the_protocol_lists_every_route() -> None:
    text = (ROOT / "service").rglob("*.py")
    added = {
        (method.upper(), path)
        for file in text
        for method, path in re.findall(r'add_(get|post|delete)\("([^"]+)"', file.read_text())
    }
    listed = PROTOCOL + " `GET /static`"
    for method, path in added - {("GET", "/echo"), ("POST", "/")}:
        shown = re.sub(r"\{name:[^}]*\}", "NAME", path).replace("{id}", "ID").replace("{attempt}", "N")
        shown = shown.replace("{sha256:[0-9a-f]+}", "SHA256")
        assert f"`{method} {shown}`" in listed, f"{method} {shown}"


def test_every_wait_of_the_architecture_names_a_test_that_holds_its_end() -> None:
    waits = rows((ROOT / "ARCHITECTURE.md").read_text(), "| what waits | for |")
    assert len(waits) > 12
    for *_, test in waits:
        file, name = test.strip("`").split("::")
        assert f"def {name}(" in (ROOT / "tests" / "upstream" / file).read_text(), test


def test_the_operations_page_has_the_thresholds_of_overload() -> None:
    table = rows((ROOT / "docs" / "operations.md").read_text(), "| figure | 1: ")
    found = rules(lag=Settings().overload_lag, memory=100.0, sockets=100.0, descriptors=1000.0)
    assert [row[0].split()[0] for row in table] == ["loop", "memory:", "the", "descriptors"]
    for row, rule in zip(table, found, strict=True):
        for cell, enter in zip(row[1:4], rule.enter, strict=True):
            number = 1000 - enter if rule.figure == "descriptors" else enter
            assert (f"{number:g}" in re.findall(r"[0-9.]+", cell)) != (cell == "never"), (rule.figure, cell)
    for row, rule in zip(table[1:3], found[1:3], strict=True):
        assert re.findall(r"[0-9]+", row[4]) == [f"{leave:g}" for leave in rule.leave]


@pytest.mark.parametrize("name", [field.name for field in fields(SessionLimits)])
def test_limits_of_a_client_that_have_a_setting_have_its_default(name: str) -> None:
    """A session that is made without settings, as tests do, has the limits of the service."""
    assert getattr(client_limits(Settings()), name) == getattr(SessionLimits(), name)


def test_the_changelog_tells_of_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__
    assert re.search(
        rf"^## (Unreleased|{re.escape(__version__)})$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_the_lock_has_a_hash_for_every_package_and_names_no_host(name: str) -> None:
    lock = (ROOT / name).read_text()
    packages = re.findall(r"^[a-z0-9][^\s=]*==\S+.*?(?=^[a-z0-9]|\Z)", lock, re.MULTILINE | re.DOTALL)
    assert len(packages) > 30
    for package in packages:
        assert "--hash=sha256:" in package, package[:60]
    assert "http" not in re.sub(r"\b(httpx?|aiohttp\S*|\w*http\w*)(?=[=\s])", "", lock)


def test_the_locks_are_of_the_extras_that_there_are() -> None:
    """An extra is in requirements-dev.lock, or has a lock of its own."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        lock.stem.removeprefix("requirements-"): set(re.findall(r"--extra (\S+)", lock.read_text().split("\n")[1]))
        for lock in ROOT.glob("requirements*.lock")
    }
    assert named["dev"] == {extra for extra in extras if extra not in named}
    assert all(extra in named[extra] for extra in extras if extra in named)
    assert named["requirements"] < named["dev"]


def pins(lock: str) -> set[str]:
    return set(re.findall(r"^[a-z0-9][^\s=]*==\S+", (ROOT / lock).read_text(), re.MULTILINE))


def test_two_locks_that_are_installed_at_the_same_time_add_no_package_twice() -> None:
    """As .ci/run does, into one environment."""
    there = pins("requirements-dev.lock")
    vision, spark = (
        {pin.split("==")[0] for pin in pins(f"requirements-{name}.lock") - there} for name in ("vision", "spark")
    )
    assert "numpy" in vision
    assert "pyspark" in spark
    assert not vision & spark


def test_what_runs_is_locked_at_the_versions_that_were_tested() -> None:
    running, development = pins("requirements.lock"), pins("requirements-dev.lock")
    assert running < development
    assert not {line.split("==")[0] for line in running} & {"mypy", "ruff", "pytest", "schemathesis", "atheris"}


def test_every_dependency_has_a_floor_and_a_cap() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["loadtest"]]:
        assert ">=" in requirement, requirement
        assert "<" in requirement.split(";")[0], requirement
        name = re.split(r"[<>=]", requirement)[0]
        assert name in (ROOT / "docs" / "decisions" / "01-dependencies.md").read_text(), name


def script(name: str) -> dict[str, Any]:
    return runpy.run_path(str(ROOT / ".ci" / f"{name}.py"), run_name=name)


def test_the_licences_are_those_of_what_is_installed() -> None:
    """Of what is installed here: a package for other systems only has to have its row."""
    ours = script("licences")
    listed = {name: licence for name, licence, _ in rows((ROOT / "docs" / "licences.md").read_text(), "# Licences")}
    assert listed.keys() == set(ours["locked"]()), "./x licences"
    for found in distributions():
        name = ours["normal"](found.name)
        if name in listed:
            assert listed[name] == ours["licence"](found), f"{name}: ./x licences"
    elsewhere = {"async-timeout", "colorama", "tzdata"}  # for an older Python, and another system
    assert all(licence for name, licence in listed.items() if name not in elsewhere), "a package without a licence"


def test_what_the_programs_need_may_be_handed_on() -> None:
    known = {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"}
    for name, licence, use in rows((ROOT / "docs" / "licences.md").read_text(), "# Licences"):
        if use in ("service", "loadtest"):
            assert set(re.findall(r"[^\s()]+", licence)) - {"AND", "OR"} <= known, name


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}', 0, "1 packages, no known advisory"),
        ('{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}]}', 1,
         "a 1: CVE-1, fixed in 2"),
        ('{"dependencies": [{"name": "a", "skip_reason": "not found"}]}', 3, "NOT audited"),
        ("no network", 3, "NOT audited"),
    ],
)  # fmt: skip
def test_an_audit_that_could_not_ask_does_not_pass(tmp_path: Path, answer: str, code: int, said: str) -> None:
    (tmp_path / "pip_audit.py").write_text(f"print({answer!r})")
    reported = subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit.py"],
        capture_output=True, text=True, timeout=60, check=False, env={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert reported.returncode == code
    assert said in reported.stdout + reported.stderr


def x(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(ROOT / "x"), *arguments], capture_output=True, text=True, timeout=120, check=False, env=env
    )


def test_x_without_or_with_a_wrong_command_shows_its_usage() -> None:
    for arguments in ([], ["nonsense"]):
        answer = x(*arguments, PATH="/usr/bin:/bin")
        assert answer.returncode == 2
        assert "demo" in answer.stderr


def fresh(folder: Path) -> Path:
    """Return a copy of ``x`` beside a lock, with nothing installed."""
    shutil.copy(ROOT / "x", folder / "x")
    (folder / "requirements.lock").write_text("")
    return folder / "x"


@pytest.mark.parametrize(
    ("script", "named"),
    [(None, "there is no"), ("exit 1", "3.11 or newer"), ("case $* in *ssl*) exit 1;; esac", "ssl")],
)
def test_x_says_what_is_missing(tmp_path: Path, script: str | None, named: str) -> None:
    program = fresh(tmp_path)
    python = tmp_path / "python-of-the-test"
    if script is not None:
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
    answer = subprocess.run(
        ["sh", str(program), "setup"], capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)},
    )  # fmt: skip
    assert answer.returncode == 1
    assert named in answer.stderr


def test_x_makes_an_environment_once(tmp_path: Path) -> None:
    program = fresh(tmp_path)
    env = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable}
    first, second = (
        subprocess.run(
            ["sh", str(program), "setup"], capture_output=True, text=True, timeout=120, check=True, env=env
        )
        for _ in range(2)
    )
    assert "making" in first.stderr
    assert second.stderr == ""
    assert (tmp_path / ".venv" / "bin" / "python").exists()


@pytest.mark.parametrize(
    ("command", "module", "path"), [("fetch", "service fetch", "{0}"), ("loadtest", "loadtest", "{0}:{1}")]
)
def test_x_runs_a_program_where_it_was_called(tmp_path: Path, command: str, module: str, path: str) -> None:
    (tmp_path / "project").mkdir()
    program = fresh(tmp_path / "project")
    folder = tmp_path / "project" / ".venv"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(tmp_path / "project" / "requirements.lock", folder / "installed-requirements.lock")
    python = folder / "bin" / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$PWD" "$PYTHONPATH" "$PYTHONSAFEPATH" "$*"\n')
    python.chmod(0o755)
    (tmp_path / "elsewhere").mkdir()
    answer = subprocess.run(
        ["sh", str(program), command, "-i", "urls.txt"], cwd=tmp_path / "elsewhere", env={"PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert answer.stdout.splitlines() == [
        str(tmp_path / "elsewhere"),
        path.format(tmp_path / "project", tmp_path / "elsewhere"),
        "1",
        f"-m {module} -i urls.txt",
    ]


@pytest.mark.parametrize("arguments", [["shellcheck", "x", ".ci/run"], ["hadolint", "Dockerfile"]])
def test_linters_find_nothing(arguments: list[str]) -> None:
    tool = Path(sys.executable).parent / arguments[0]
    if not tool.exists():
        pytest.skip(f"{arguments[0]} has no package for this machine")
    answer = subprocess.run(
        [tool, *arguments[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.stdout + answer.stderr == ""


@pytest.mark.seconds(60)
@pytest.mark.timeout(600)
def test_the_dockerfiles_steps_build_the_programs(tmp_path: Path) -> None:
    """Without Docker: its steps run in an empty environment, in other folders and with pip's cache."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    build = text.split("\nFROM ")[1]
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "python")], check=True, timeout=120)
    source = tmp_path / "src"
    source.mkdir()
    ran = 0
    for line in build.splitlines():
        if line.startswith("COPY"):
            *names, _ = line.split()[1:]
            for name in names:
                target = source / name
                if (ROOT / name).is_dir():
                    shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(ROOT / name, target)
        elif line.startswith("RUN"):
            command = line[4:].replace("/opt/", f"{tmp_path}/opt/").replace("/wheels", f"{tmp_path}/wheels")
            command = command.replace("--no-cache-dir ", "")  # here the next one wants the same packages
            command = re.sub(r"(^|&& +)python ", rf"\1{tmp_path}/python/bin/python ", command)
            (tmp_path / "opt").mkdir(exist_ok=True)
            subprocess.run(
                ["sh", "-ec", command], cwd=source, check=True, timeout=500, capture_output=True,
                env={**os.environ, "PIP_COMPILE": "0"},
            )  # fmt: skip
            ran += 1
    assert ran == 3
    sluice = tmp_path / "opt" / "sluice" / "bin" / "sluice"
    entry = re.search(r"ENTRYPOINT (\[.*\])", text)
    assert entry
    assert orjson.loads(entry[1])[0] == sluice.name
    answer = subprocess.run([sluice, "--version"], capture_output=True, text=True, timeout=60, check=True, cwd="/")
    assert answer.stdout.startswith("sluice ")
    installed = {path.name.split("-")[0].lower() for path in (tmp_path / "opt").rglob("*.dist-info")}
    assert "aiohttp" in installed
    assert not installed & {"mypy", "ruff", "pytest", "hatchling"}
    page = list((tmp_path / "opt").rglob("service/edge/static/index.html"))
    assert page, "the page is part of the package"
