"""``sluice count --spark``: the answer of our own processes, from Spark on this machine and from a cluster."""

import asyncio
import gzip
import importlib.util
import os
import random
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from tests.end_to_end.processes import PATIENCE, ROOT, Process, run, start
from tests.work.file_counts.frames import zstd_frame

SMALL = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xss512k"
"""Java that starts fast and takes little."""
DEFAULTS = f"""
spark.driver.memory 512m
spark.executor.memory 512m
spark.driver.host 127.0.0.1
spark.driver.bindAddress 127.0.0.1
spark.driver.extraJavaOptions {SMALL}
spark.executor.extraJavaOptions {SMALL}
"""
SLUICE = """
import sys
from service.work.file_counts import spark
spark._PART = 400_000  # so that there are several
from service.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Return the environment in which Spark is small and speaks with this machine alone."""
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed (pip install --require-hashes -r requirements-spark.lock)")
    if shutil.which("java") is None:
        pytest.skip("java is not installed (Debian: openjdk-17-jre-headless)")
    (tmp_path / "spark").mkdir()
    (tmp_path / "spark" / "spark-defaults.conf").write_text(DEFAULTS)
    return {
        "SPARK_CONF_DIR": str(tmp_path / "spark"), "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": SMALL, "PYSPARK_PYTHON": sys.executable, "PYTHONPATH": str(ROOT),
    }  # fmt: skip


def files(folder: Path) -> list[str]:
    """Make files of all kinds, and return their names with those of some that cannot be read."""
    chance = random.Random(1)
    lines = [b"10.0.0.%d GET /%d" % (int(250 ** chance.random()), number) for number in range(40_000)]
    text = b"\n".join(lines)
    made = {
        "plain": text, "windows": b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n") + b"\r\n",
        "bytes": b"\xff\xc0 x\n\0\0 GET /1\n\n \n\xc3\xa4 \r x\rGET /2\n" * 300,
        "long": b"10.0.0.1 " + b"y" * (2 << 20) + b"\n10.0.0.2 GET /1\n", "empty": b"",
        "members.gz": gzip.compress(text) + gzip.compress(b"\n" + text), "frames": zstd_frame(text) * 2,
        "cut": gzip.compress(text)[:-8], "folder/file": b"",
    }  # fmt: skip
    (folder / "folder").mkdir()
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return [*(str(folder / name) for name in made), str(folder / "none"), str(folder / "folder")]


async def compared(env: Mapping[str, str], folder: Path, master: str, names: list[str], *keys: str) -> None:
    """Count by Spark and by processes, and compare all that they print."""
    arguments = (*names, *keys, "--json", "--quiet", "--top", "400")
    code, out, err = await run(sys.executable, "-m", "service", "count", *arguments, env=env)
    ours = (code, orjson.loads(out), sorted(err.splitlines()))
    assert code == 1
    code, out, err = await run(
        sys.executable, "-P", "-c", SLUICE, "count", *arguments, "--spark", master, env=env, cwd=folder, within=120
    )
    assert out, err
    assert (code, orjson.loads(out), sorted(err.splitlines())) == ours
    assert (ours[1]["missed"], ours[1]["exact"]) == (len(ours[2]), True)


async def test_spark_on_this_machine_has_the_same_answer(env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('of the folder in which executors run')")
    await compared(env, tmp_path, "local[2]", files(tmp_path), "--field", "1")


async def said(process: Process, pattern: str) -> str:
    """Return the group of a pattern in what a process of Spark logs; its log is read on, so that it is not held up."""
    assert process.process.stderr is not None
    async with asyncio.timeout(PATIENCE):
        while line := (await process.process.stderr.readline()).decode():
            if found := re.search(pattern, line):
                return found[1]
    raise AssertionError(f"it has ended without {pattern}")


async def test_a_cluster_of_two_workers_has_the_same_answer(env: dict[str, str], tmp_path: Path) -> None:
    spec = importlib.util.find_spec("pyspark")
    assert spec is not None
    assert spec.origin is not None
    program = str(Path(spec.origin).parent / "bin" / "spark-class")
    deploy, ports = "org.apache.spark.deploy", ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
    master = await start(program, f"{deploy}.master.Master", *ports, env=env, cwd=tmp_path)
    url = await said(master, r"Starting Spark master at (spark://\S+)")
    size = ("--cores", "1", "--memory", "512m", "--work-dir", str(tmp_path / "work"))
    workers = [
        await start(program, f"{deploy}.worker.Worker", *ports, *size, url, env=env, cwd=tmp_path) for _ in range(2)
    ]
    await asyncio.gather(*(said(worker, r"(Successfully registered) with master") for worker in workers))
    names = [name for name in files(tmp_path) if Path(name).name in ("plain", "cut")]
    await compared(env, tmp_path, url, names, "--regex", r"GET /(\d)")
    used = [len(os.listdir(application)) for application in (tmp_path / "work").glob("app-*")]
    assert [count >= 2 for count in used] == [True], "both workers have run an executor"
