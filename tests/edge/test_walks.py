"""The walks of ARCHITECTURE.md, hop by hop, in a service that runs."""

import ast

import pytest

from tests.edge.running import call, client_of
from tests.walks import ROOT, Hop, Walk, hops, stated, walking

PUBLISH, URL, JOB = "A message's way", "A fetch's way", "A job's way"


def left_out(walk: Walk, expected: list[Hop]) -> list[Hop]:
    """Return the hops that do not come after the one before."""
    rest = iter(walk.calls)
    return [hop for hop in expected if hop not in rest]


def check_length(walk: Walk, way: str) -> None:
    """Check that a way has not become longer than ARCHITECTURE.md says, nor much shorter without its being said."""
    found, most = (len(walk.entered), len(walk.passed)), stated(way)
    assert all(most - 2 <= now <= most for now, most in zip(found, most, strict=True)), (
        found,
        sorted(walk.entered),
    )


@pytest.mark.parametrize(("heading", "most"), [(PUBLISH, 10), (URL, 22), (JOB, 12)])
def test_a_walk_is_short_and_each_hop_is_a_function_of_its_file(heading: str, most: int) -> None:
    walk = hops(heading)
    assert most // 2 < len({file for file, _ in walk}) <= most
    for file, function in walk:
        tree = ast.parse((ROOT / "service" / file).read_text())
        defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert function in defined, f"{file} has no {function}"


async def test_a_publish_takes_the_hops_that_are_listed_and_never_goes_back() -> None:
    async with client_of() as client, client.socket() as socket:
        await call(socket, "subscribe", topic="t")
        with walking() as walk:
            await socket.send_json(
                {"jsonrpc": "2.0", "id": 2, "method": "publish", "params": {"topic": "t", "data": 1}}
            )
            answer, message = [await socket.receive_json() for _ in range(2)]
    assert (answer["result"]["offset"], message["params"]["offset"]) == (1, 1)
    assert left_out(walk, hops(PUBLISH)) == [], "each hop comes after the one before it"
    assert walk.back == set()
    check_length(walk, "a publish")


async def test_a_url_takes_the_hops_that_are_listed_in_their_order() -> None:
    async with client_of() as client:
        # The first one makes the connection, and what a service makes once.
        await client.batch({"urls": [f"{client.origin}/first"]})
        with walking() as walk:
            await client.batch({"urls": [f"{client.origin}/one"]}, Accept="application/x-ndjson")
    assert left_out(walk, hops(URL)) == [], "each hop comes after the one before it"
    check_length(walk, "one URL")
    engine = ("upstream/", "core/fetching/", "sources/")
    ways = [way for way in walk.back if way[0].startswith(engine) and "core/pending.py" not in way]
    assert ways == [], "the engine and the batches return what they decide"


async def test_a_job_takes_the_hops_that_are_listed_in_their_order() -> None:
    async with client_of() as client:
        with walking() as walk:
            _, job, _ = await client.ask("POST", "/jobs", json={"publish": {"topic": "t", "data": 1}})
            _, events, _ = await client.ask("GET", f"/jobs/{job['job']}/events")
    assert b'"done"' in events.splitlines()[-1]
    assert left_out(walk, hops(JOB)) == [], "each hop comes after the one before it"
