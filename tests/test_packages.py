"""The clients as packages: built, installed without the service, used and checked as their users would."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.end_to_end.npm import packages

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "service" / "edge" / "static"
DOCUMENT = (ROOT / "docs" / "clients.md").read_text()

PYTHON = """
from typing import assert_never

from sluice_client import (
    Backoff, Client, Done, Failed, Gap, JobCancelled, JobDone, JobError, JobFailed, JobProgress, JobQueued,
    JobRescheduled, JobRetry, JobStarted, OtherEvent, Position, Progress, Refused, Restart, Result, WatchError, WatchRecovered, WatchState,
    sync,
)


async def typed() -> None:
    async with Client("http://127.0.0.1:8080", backoff=Backoff(), on_state=lambda state: print(state.after)) as client:
        async for event in client.fetch(["http://a.example/"], timeout=3):
            match event:
                case Result():
                    print(event.status + 1, event.final_url.upper(), event.timing.total / 1000)
                case Failed():
                    print(event.error.upper(), event.retry_after or 0.0)
                case Progress():
                    print(event.counts["lines"] + 1)
                case Done():
                    print(event.ok + event.failed)
                case Gap() | Restart():
                    print(event)
                case OtherEvent():
                    print(event.event.upper())
                case _:
                    assert_never(event)
        job = await client.job(run={"name": "transcode", "args": ["a.mkv"]}, delay=60, key="k", keep=None)
        async for step in job:
            match step:
                case JobProgress():
                    print((step.done or 0.0) / (step.total or 1.0), (step.message or "").upper())
                case JobRetry() | JobFailed():
                    print(step.error.upper(), step.detail.upper())
                case JobQueued() | JobRescheduled():
                    print(step.due.upper())
                case JobStarted():
                    print(step.attempt + 1, step.worker.upper())
                case JobDone() | JobCancelled() | Gap() | Restart() | OtherEvent():
                    print(step, await job.cancel() is True, job.state == "done")
                case _:
                    assert_never(step)
        position: Position = await client.publish("t", 1)
        print(Position.parse(str(position)) == position)


def plain() -> None:
    with sync.Client("http://127.0.0.1:8080") as client:
        try:
            print(client.publish("t", 1).offset)
        except Refused as error:
            print(error.reason)
        job = client.follow_job(client.job(publish={"topic": "t", "data": 1}).id)
        try:
            print([event for event in job], job.result(timeout=3.0), job.id.upper())
        except JobError as failed:
            print(failed.state == "failed", failed.error.upper(), failed.detail.upper())
        client.job(call={"url": "http://a.example/"}, dealy=3)  # type: ignore[call-arg]
        for event in client.watch("http://a.example/", every=60):
            if isinstance(event, WatchState):
                print(event.sha256.upper(), event.event == "changed")
            elif isinstance(event, WatchError | WatchRecovered):
                print(event.url)
"""
TYPESCRIPT = """
import { JobError, Sluice, SluiceError, type State } from "sluice-client";

const client = new Sluice("http://127.0.0.1:8080", {
  token: async () => "T",
  onState: (state: State) => { if (state.state === "waiting") console.log(state.after + state.code); },
});
for await (const event of client.fetch(["http://a.example/"], { timeout: 3 })) {
  switch (event.event) {
    case "result": console.log(event.status + 1, event.final_url.toUpperCase()); break;
    case "failed": console.log(event.error, event.detail); break;
    case "progress": console.log(event.counts.lines + 1); break;
    case "done": { const all: number = event.ok + event.failed; console.log(all); break; }
    case undefined: console.log(event.gap?.from ?? event.restart?.epoch); break;
    default: { const never: never = event; console.log(never); }
  }
}
for await (const item of client.watch("http://a.example/", { every: 60 })) {
  if (item.gap) console.log(item.gap.from);
  else if (item.restart) console.log(item.restart.epoch);
  else if (item.event === "error") console.log(item.detail);
}
const job = await client.job({ run: { name: "transcode", args: ["a.mkv"] }, delay: 60 });
for await (const event of job) {
  switch (event.event) {
    case "queued": case "rescheduled": console.log(event.due.toUpperCase()); break;
    case "started": console.log(event.attempt + 1); break;
    case "progress": console.log((event.done ?? 0) / (event.total ?? 1)); break;
    case "retry": case "failed": console.log(event.error, event.detail); break;
    case "done": console.log(event.result, job.state === "done"); break;
    case "cancelled": case undefined: break;
    default: { const never: never = event; console.log(never); }
  }
}
const ended: boolean = await client.followJob(job.id).cancel();
await job.result().catch((error: unknown) => { if (error instanceof JobError) console.log(ended, error.error, error.reason === "failed"); });
// @ts-expect-error a job is one kind of work
client.job({ publish: { topic: "t", data: 1 }, run: { name: "transcode" } });
// @ts-expect-error and there has to be one
client.job({ delay: 60 });
// @ts-expect-error a watch needs its interval
client.watch("http://a.example/", {});
// @ts-expect-error there is no such option
new Sluice("http://127.0.0.1:8080", { tokens: "T" });
await client.publish("t", 1).catch((error: unknown) => { if (error instanceof SluiceError) console.log(error.reason); });
"""


def command(*words: Any, cwd: Path, **more: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        words, cwd=cwd, env={**environment, **more}, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def examples(language: str, heading: str) -> list[str]:
    """Return the blocks of a language in a section of the document."""
    section = DOCUMENT[DOCUMENT.index(f"## {heading}\n") :].split("\n## ")[0] + "\n"
    found = re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the Python client's wheel in it, and nothing else."""
    folder = tmp_path_factory.mktemp("client")
    command(
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "-t",
        "wheel",
        "-d",
        folder / "dist",
        cwd=ROOT / "service" / "client",
    )
    (wheel,) = (folder / "dist").glob("sluice_client-*.whl")
    command(
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        folder / "site",
        wheel,
        cwd=folder,
    )
    return folder / "site"


def test_the_wheel_has_the_client_alone_and_needs_two_packages(installed: Path) -> None:
    assert {path.name for path in installed.iterdir()} == {
        "sluice_client",
        *(p.name for p in installed.glob("*.dist-info")),
    }
    names = {path.name for path in (installed / "sluice_client").iterdir()} - {"__pycache__"}
    assert names == {path.name for path in (ROOT / "service" / "client").glob("*.py")} | {"py.typed"}
    metadata = next(installed.glob("*.dist-info")) / "METADATA"
    needed = re.findall(r"^Requires-Dist: ([a-z]+)", metadata.read_text(), re.MULTILINE)
    assert sorted(needed) == ["aiohttp", "orjson"]
    program = (
        "import sys, sluice_client.sync; sys.exit(any(name.split('.')[0] == 'service' for name in sys.modules))"
    )
    command(sys.executable, "-c", program, cwd=installed, PYTHONPATH=str(installed))


def test_a_python_project_that_uses_it_has_strict_types(installed: Path, tmp_path: Path) -> None:
    blocks = [PYTHON]
    for number, block in enumerate(examples("python", "Python")):
        imports = "".join(line + "\n" for line in block.splitlines() if line.startswith(("from", "import")))
        rest = [line for line in block.splitlines() if not line.startswith(("from", "import"))]
        blocks.append(
            imports + f"\n\nasync def example_{number}() -> None:\n" + "".join(f"    {line}\n" for line in rest)
        )
    for number, block in enumerate(blocks):
        (tmp_path / f"program_{number}.py").write_text(block)
    (tmp_path / "mypy.ini").write_text("[mypy]\n")
    command(
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        *sorted(tmp_path.glob("program_*.py")),
        cwd=tmp_path,
        MYPYPATH=str(installed),
    )


def test_the_npm_package_has_the_module_and_its_types_and_needs_nothing(tmp_path: Path) -> None:
    package = orjson.loads((STATIC / "package.json").read_bytes())
    assert "dependencies" not in package
    npm = "npm"
    try:
        command(npm, "pack", "--silent", "--pack-destination", tmp_path, STATIC, cwd=tmp_path)
    except FileNotFoundError:
        pytest.skip("npm is not installed (Debian: npm)")
    (archive,) = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as packed:
        assert set(packed.getnames()) == {"package/package.json", "package/sluice.js", "package/sluice.d.ts"}
        packed.extractall(tmp_path / "node_modules", filter="data")
    (tmp_path / "node_modules" / "package").rename(tmp_path / "node_modules" / "sluice-client")
    (tmp_path / "program.mjs").write_text(
        'import { Sluice, SluiceError } from "sluice-client";\nconsole.log(Sluice.name, SluiceError.name);\n'
    )
    assert command("node", "program.mjs", cwd=tmp_path) == "Sluice SluiceError\n"


def test_a_typescript_project_that_uses_it_has_strict_types(tmp_path: Path) -> None:
    tsc = packages() / "typescript" / "bin" / "tsc"
    programs = [TYPESCRIPT, *examples("js", "JavaScript")]
    for number, program in enumerate(programs):
        (tmp_path / f"program_{number}.ts").write_text(program)
    module = [str(STATIC / "sluice.d.ts")]
    options = {
        "strict": True, "noEmit": True, "target": "es2022", "module": "esnext", "moduleResolution": "bundler",
        "lib": ["es2023", "dom", "dom.asynciterable"], "types": [], "exactOptionalPropertyTypes": True,
        "paths": {"sluice-client": module, "http://127.0.0.1:8080/static/sluice.js": module},
    }  # fmt: skip
    config = {"compilerOptions": options, "files": [f"program_{number}.ts" for number in range(len(programs))]}
    (tmp_path / "tsconfig.json").write_bytes(orjson.dumps(config))
    command("node", tsc, "-p", tmp_path, cwd=tmp_path)


def test_the_declarations_have_every_public_method() -> None:
    module, types = (STATIC / "sluice.js").read_text(), (STATIC / "sluice.d.ts").read_text()
    body = module[module.index("export class Sluice ") :]
    public = set(re.findall(r"^  (?:async )?(\w+)\(.*\{$", body, re.MULTILINE))
    declared = set(re.findall(r"^  (\w+)[(<]", types[types.index("export class Sluice ") :], re.MULTILINE))
    assert declared == public
