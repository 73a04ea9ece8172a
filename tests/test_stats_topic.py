"""The topic ``_stats``: what is in it is what happened, and looking at many topics holds nobody up."""

import asyncio
import re
from pathlib import Path
from typing import Any

from service.core.topics.hub import Hub, HubLimits
from service.core.topics.memory_store import MemoryStore
from service.ops import activity
from service.ops.activity import Activity
from tests.edge.running import call, client_of
from tests.edge.test_pipelines import toml
from tests.test_project import rows

PROTOCOL = (Path(__file__).parent.parent / "docs" / "protocol.md").read_text()


async def figures(socket: Any) -> Any:
    """Return the next figures that come."""
    while True:
        params = (await socket.receive_json())["params"]
        if params["topic"] == "_stats":
            return params["data"]


async def test_the_figures_are_what_happened_and_the_protocol_lists_them() -> None:
    async with client_of() as client, client.socket() as socket, client.socket() as other:
        await call(socket, "subscribe", topic="_stats")
        await call(other, "subscribe", topic="t")
        first = await figures(socket)
        for number in range(5):
            await client.ask("POST", "/topics/t", json=number)
            await other.receive_json()
        url = f"{client.origin}/etag/a?secret=1"
        await call(other, "watch", url=url, every=60)
        await other.receive_json()
        batch = (await call(other, "fetch", urls=[f"{client.origin}/slow/5000", "nonsense"]))["batch"]
        await other.receive_json()
        second = await figures(socket)
    listed = {name for row in rows(PROTOCOL, "| `_stats` |") for name in re.findall(r"`(\w+)`", row[0])}
    assert listed == set(second)
    assert second["connections"] == 2
    assert second["uptime"] > first["uptime"]
    assert second["deliveries"] - first["deliveries"] >= 7
    assert (second["batches"], second["failed"], second["watches"], second["polls"]) == (1, 1, 1, 1)
    assert second["busiest"][0] == {"topic": "t", "readers": 1, "published": 5, "deliveries": 5}
    places = dict.fromkeys(("network", "loop", "threads", "processes", "waiting"), 0.0)
    assert second["running"] == [{"batch": f"{batch[:6]}…", "total": 2, "ok": 0, "failed": 1, "time_ms": places}]
    assert second["watched"] == [{"url": f"{client.origin}/etag/a?…", "every": 60.0, "watchers": 1}]


async def test_no_batch_id_and_no_query_is_published() -> None:
    async with client_of() as client, client.socket() as socket, client.socket() as other:
        await call(socket, "subscribe", topic="_stats")
        await figures(socket)
        batch = (await call(other, "fetch", urls=[f"{client.origin}/bytes/5"] * 3))["batch"]
        text = str([await figures(socket) for _ in range(2)])
    assert batch not in text
    assert batch[:6] in text


async def test_many_topics_are_looked_at_a_slice_a_turn() -> None:
    hub = Hub(HubLimits(), MemoryStore(lambda: "e"), call_soon=lambda then: None, clock=lambda: 0.0)
    for number in range(activity._SLICE * 3):
        hub.publish(f"t{number}", b"1", 0.0)
    looking = asyncio.ensure_future(Activity(hub, None, None).sample())  # type: ignore[arg-type]
    turns = 0
    while not looking.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 3


async def test_the_stages_of_pipelines_that_have_clients_are_listed_with_their_rates(tmp_path: Path) -> None:
    file = tmp_path / "pipelines.toml"
    file.write_text(toml("double loop", "slowly loop"))
    async with client_of(pipelines=str(file)) as client, client.socket() as socket:
        await call(socket, "subscribe", topic="_stats")
        assert (await figures(socket))["stages"] == []
        async with client.session.ws_connect(client.url("/pipelines/p")) as items:
            await figures(socket)
            for _ in range(4):
                await items.send_bytes(b"a")
            stages = []
            while not stages or stages[1]["ms"] is None:
                stages = (await figures(socket))["stages"]
        assert [(one["pipeline"], one["stage"]) for one in stages] == [("p", "double"), ("p", "slowly")]
        assert 0 < stages[1]["per_second"] <= 1
        assert stages[1]["ms"] == 1000
        assert stages[1]["running"] + stages[1]["waiting"] > 0
        assert [(await figures(socket))["stages"] for _ in range(2)][-1] == []
