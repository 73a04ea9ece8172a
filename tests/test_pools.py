"""Every pool is in the operators' table, with a setting that exists, and no other; and `/metrics` has each."""

import ast
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from service.config.settings import Settings
from service.core.owner import Owner
from tests.edge.running import Client, call, client_of
from tests.edge.test_claims import SECRET, bearer
from tests.edge.test_metrics import families

ROOT = Path(__file__).parent.parent
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


def table() -> dict[str, list[str]]:
    """Return the rows of the table of shares by the pool's name: bound, what one client has, and what then."""
    begin = OPERATIONS.index("| pool | bound | a client alone has | who has used up its share |")
    rows = OPERATIONS[begin:].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {re.match(r"`(\w+)`", first)[1]: rest for first, *rest in cells}  # type: ignore[index]


def named_in_code() -> set[str]:
    """Return the name of every Pool that the service makes."""
    return {
        call.args[0].value
        for path in (ROOT / "service").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Pool"
        if call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str)
    }


async def test_every_pool_is_in_the_table_and_among_the_figures() -> None:
    async with client_of() as client:
        found = {family.name: family for family in await families(client)}
    names = {sample.labels["pool"] for sample in found["sluice_pool_bound"].samples}
    others = {
        "upstream",
        "upstream_host",
        "backlogs_size",
        "lookups",
        "step_places",
        "job_places",
        "blobs_size",
        "blobs",
    }
    assert named_in_code() | others == names == table().keys()
    for figure in ("sluice_pool_used", "sluice_pool_owners", "sluice_pool_refusals"):
        samples = [sample for sample in found[figure].samples if not sample.name.endswith("_created")]
        assert {sample.labels["pool"] for sample in samples} == names, figure
        assert all(sample.labels.keys() == {"pool"} for sample in samples), figure


def test_every_row_says_what_then_and_its_settings_exist() -> None:
    for name, cells in table().items():
        assert len(cells) == 3, name
        assert all(cells), name
        for option in re.findall(r"`--([a-z-]+)`", " ".join(cells)):
            assert option.replace("-", "_") in Settings.__struct_fields__, option


async def test_bounds_are_those_of_the_settings() -> None:
    async with client_of(
        topics=1234, watches=99, websockets=77, upstream=55, upstream_host=6, connections=40
    ) as client:
        found = {family.name: family for family in await families(client)}
    bounds = {sample.labels["pool"]: sample.value for sample in found["sluice_pool_bound"].samples}
    given = {"topics": 1234, "watches": 99, "websockets": 77, "upstream": 55, "upstream_host": 6, "connections": 44}
    assert given.items() <= bounds.items()


GIVES_WAY = {
    "unstored": "tests/core/test_late_store.py::test_what_waits_for_the_store_is_bounded",
    "undelivered_bytes": "tests/upstream/test_delivery.py::test_a_client_with_much_to_be_delivered_does_not_keep_others_from_fetching",
    "retired_topics": "tests/core/test_retired.py::test_who_leaves_many_topics_forgets_its_own_alone",
    "batches_size": "tests/upstream/test_retention.py::test_a_batch_whose_reader_does_not_come_back_ends",
    "finished_batches": "tests/upstream/test_retention.py::test_the_largest_keeper_of_finished_batches_loses_its_oldest_first",
    "reading_bytes": "tests/upstream/test_reading.py::"
    "test_an_owner_over_its_share_reads_one_after_another_and_another_reads_at_once",
    "pipelines": "tests/edge/test_pipelines.py::test_one_client_has_its_share_of_the_places_and_others_find_some",
    "frame_bytes": "tests/work/pipelines/test_frames.py::"
    "test_one_that_has_its_share_waits_until_something_comes_back_and_others_find_room",
    "upstream": "tests/core/test_plan.py::test_one_owner_has_most_places_and_leaves_some_to_the_next_ones",
    "upstream_host": "tests/core/test_host_limiter.py::test_where_hosts_are_shared_one_owner_leaves_a_quarter_to_others",
    "backlogs_size": "tests/edge/test_stalled.py::test_beyond_the_bound_the_client_that_holds_most_gives_way",
    "lookups": "tests/upstream/test_guard.py::test_many_names_whose_servers_are_mute_hold_up_no_other_client",
    "step_places": "tests/runtime/test_turns.py::test_who_has_every_place_for_long_does_not_lock_out_the_others",
    "job_places": "tests/jobs/test_lanes.py::test_one_client_has_nine_tenths_of_many_places",
    "blobs_size": "tests/work/test_blobs.py::test_who_floods_the_store_pushes_out_its_own",
    "blobs": "tests/work/test_blobs.py::test_many_tiny_ones_push_out_those_of_their_owner",
    "cache_size": "tests/upstream/test_cache.py::test_a_client_that_floods_it_pushes_out_what_it_brought_itself",
}
"""Pools whose owners are not refused, but wait or give up something of their own: the test of what then."""


async def http(client: Client, method: str, path: str, count: int, **more: Any) -> tuple[int, Any]:
    """Make requests until one is refused; return its status and pool."""
    for number in range(count):
        filled = {name: fill(number) if callable(fill) else fill for name, fill in more.items()}
        status, answer, _ = await client.ask(method, path.format(number), **filled)
        if status >= 300:
            return status, answer.get("pool")
    return 0, None


async def try_topics(client: Client) -> tuple[int, Any]:
    client.service.hub.owners.bound = 10
    return await http(client, "POST", "/topics/t{}", 10, json=1)


async def try_rings(client: Client) -> tuple[int, Any]:
    return await http(client, "POST", "/topics/t{}", 40, json="x" * 3000)


async def try_keys(client: Client) -> tuple[int, Any]:
    client.service.hub.keys.pool.bound = 10
    return await http(client, "POST", "/topics/t", 10, json=1, headers=lambda one: {"Idempotency-Key": f"k{one}"})


async def try_batches(client: Client) -> tuple[int, Any]:
    client.service.batches.lifecycle.pool.bound = 4
    body = {"urls": [f"{client.origin}/slow/60000"]}
    return await http(client, "POST", "/fetch-batch", 4, json=body, headers={"Prefer": "respond-async"})


async def try_queued(client: Client) -> tuple[int, Any]:
    client.service.batches.lifecycle.queued.bound = 20_000
    body = {"urls": [f"{client.origin}/slow/60000?{'x' * 5000}"]}
    return await http(client, "POST", "/fetch-batch", 6, json=body, headers={"Prefer": "respond-async"})


async def try_stored(client: Client) -> tuple[int, Any]:
    # As if running batches of this client had filled the pool already.
    client.service.batches.stored.pool.charge(Owner("127.0.0.1"), 10 << 30)
    return await http(client, "POST", "/fetch-batch", 1, json={"urls": [f"{client.origin}/bytes/1"]})


async def try_connections(client: Client) -> tuple[int, Any]:
    async with AsyncExitStack() as streams:
        for number in range(8):
            path = client.url(f"/topics/t{number}/events")
            stream = await streams.enter_async_context(client.session.get(path))
            if stream.status != 200:
                return stream.status, (await stream.json(content_type=None)).get("pool")
    return 0, None


async def try_watches(client: Client) -> tuple[int, Any]:
    async with client.socket() as socket:
        for number in range(8):
            answer = await call(socket, "watch", url=f"{client.origin}/slow/60000?{number}", every=1)
            if "code" in answer:
                return answer["code"], answer["data"]["pool"]
    return 0, None


async def try_websockets(client: Client) -> tuple[int, Any]:
    headers = bearer(sub="a", subscribe=["*"])
    async with AsyncExitStack() as sockets:
        for _ in range(8):
            try:
                await sockets.enter_async_context(client.socket(headers=headers))
            except aiohttp.WSServerHandshakeError as refused:
                _, answer, _ = await client.ask("GET", "/ws", headers={**headers, **UPGRADE})
                return refused.status, answer.get("pool")
    return 0, None


async def try_selections(client: Client) -> tuple[int, Any]:
    # As if the pages of this client filled it already.
    client.service.watches._polls._selector.pool.charge(Owner("127.0.0.1"), 64 << 20)
    async with client.socket() as socket:
        await call(socket, "watch", url=f"{client.origin}/bytes/9000", every=1, select="p")
        event = (await socket.receive_json())["params"]["data"]
    assert event["error"] == "unavailable"
    return 0, re.findall(r"limit (\w+): this client has \d+, its share", event["detail"])[0]


async def try_steps(client: Client) -> tuple[int, Any]:
    # As if the bodies of this client filled it already.
    client.service.steps.pool.charge(Owner("127.0.0.1"), 256 << 20)
    return await http(client, "POST", "/steps?steps=[{{%22step%22:%22digest%22}}]", 1, data=b"abc")


async def try_jobs(client: Client) -> tuple[int, Any]:
    client.service.jobs.pool.bound = 10_000
    return await http(client, "POST", "/jobs", 20, json={"publish": {"topic": "t", "data": 1}, "delay": 1000})


async def try_counts(client: Client) -> tuple[int, Any]:
    # As if batches of this client counted as many already.
    client.service.batches.stepping.keys.charge(Owner("127.0.0.1"), 1_900_000)
    body = {"urls": [f"{client.origin}/bytes/1"], "options": {"steps": [{"step": "count", "field": 1}]}}
    return await http(client, "POST", "/fetch-batch", 1, json=body)


UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip
REFUSES: dict[str, tuple[Callable[[Client], Awaitable[tuple[int, Any]]], int, dict[str, Any]]] = {
    "websockets": (try_websockets, 429, {"websockets": 6, "jwt_secret": SECRET}),
    "connections": (try_connections, 503, {"connections": 4}),
    "topics": (try_topics, 429, {}),
    "rings_size": (try_rings, 503, {"rings_size": 40_000, "ring_size": 40_000}),
    "keys": (try_keys, 429, {}),
    "batches": (try_batches, 429, {}),
    "queued_bytes": (try_queued, 503, {}),
    "stored_batches": (try_stored, 429, {}),
    "watches": (try_watches, -32005, {"watches": 6}),
    "selections": (try_selections, 0, {}),
    "step_bytes": (try_steps, 429, {}),
    "jobs": (try_jobs, 429, {}),
    "count_keys": (try_counts, 429, {}),
}
"""Pools whose owners get an error when their share is used up: how to use it up, and the status or code."""


@pytest.mark.parametrize("name", REFUSES)
async def test_an_error_names_the_share_that_is_used_up(name: str) -> None:
    use_up, code, settings = REFUSES[name]
    async with client_of(**settings) as client:
        assert await use_up(client) == (code, name)
        if code:
            assert str(code) in table()[name][2]


def test_every_pool_of_the_table_is_tried() -> None:
    assert REFUSES.keys() | GIVES_WAY.keys() == table().keys()
    for node in GIVES_WAY.values():
        path, _, test = node.partition("::")
        assert f"def {test}(" in (ROOT / path).read_text(), node
