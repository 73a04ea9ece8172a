"""``/metrics`` as Prometheus reads it, and that its figures are what happened."""

import asyncio
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.edge.running import Client, call, client_of

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


async def figures(client: Client) -> dict[str, float]:
    status, body, response = await client.ask("GET", "/metrics")
    assert status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


async def test_the_figures_are_what_happened() -> None:
    async with client_of() as client, client.socket() as socket:
        await call(socket, "subscribe", topic="t")
        await call(socket, "publish", topic="t", data=1)
        await socket.receive_json()
        await call(socket, "watch", url=f"{client.origin}/etag/a", every=1)
        url = f"{client.origin}/bytes/5"
        await client.batch({"urls": [url, url, "nonsense", f"{client.origin}/status/200"]})
        await asyncio.sleep(0.1)
        found = await figures(client)
    assert found["sluice_connections"] == found["sluice_upgrades_total"] == 1
    assert found["sluice_readers"] == 2
    assert found["sluice_urls_total[ok]"] == 3
    assert found["sluice_urls_total[invalid_url]"] == 1
    assert found["sluice_fetches_joined_total"] == 1
    assert found["sluice_watched_urls"] == found["sluice_polls_total"] == 1
    assert found["sluice_fetches_total"] == 3
    assert found["sluice_batches_retained"] == 1
    assert found["sluice_deliveries_total"] >= 1
    assert found["process_resident_memory_bytes"] > 1 << 20
    assert found["process_open_fds"] > 3


async def test_it_needs_the_token_and_does_not_tell_it() -> None:
    async with client_of(token="a-very-secret-token") as client:
        assert (await client.ask("GET", "/metrics"))[0] == 401
        headers = {"Authorization": "Bearer a-very-secret-token"}
        _, body, _ = await client.ask("GET", "/metrics", headers=headers)
        assert b"a-very-secret-token" not in body


async def test_every_figure_is_in_the_documents_and_no_other() -> None:
    async with client_of() as client:
        _, body, _ = await client.ask("GET", "/metrics")
    told = {re.sub(r"_total$", "", name) for name in re.findall(r"# HELP (\S+)", body.decode())}
    listed = {
        re.sub(r"_total$", "", name)
        for name in re.findall(r"^\| `((?:sluice|process)_\w+)", OPERATIONS, re.MULTILINE)
    }
    assert told == listed
