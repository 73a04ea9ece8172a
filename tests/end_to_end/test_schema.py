"""schemathesis takes /openapi.json at its word: no server error, no undocumented answer, no bad data accepted."""

import asyncio
import re

import pytest

from bench.schema import command, environment
from tests.end_to_end.processes import origin, run, service

EXAMPLES = 10
"""For each operation: the same on any machine, however fast it is; ``./x bench schema`` makes new ones."""


@pytest.mark.seconds(40)
@pytest.mark.timeout(480)
async def test_schemathesis_finds_nothing() -> None:
    async with (
        origin() as upstream,
        service(
            "--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port), "--drain", "1",
            env={"SLUICE_TOKEN": "t"},
        ) as server,
    ):  # fmt: skip
        code, out, err = await run(
            *command(server.url, ("max-examples", EXAMPLES), seed=1, token="t"),
            env=environment(upstream.url),
            within=400,
        )
        server.process.terminate()
        _, logged = await asyncio.wait_for(server.process.communicate(), 60)
    assert code == 0, out[-20_000:] + err
    cases = re.search(r"(\d+) generated", out)
    assert cases
    assert int(cases[1]) > 1000, "too few to say anything"
    assert b"Traceback" not in logged
