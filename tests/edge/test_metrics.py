"""``/metrics`` as Prometheus reads it, and that its figures are what happened."""

import asyncio
import errno
import re
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from service.ops import metrics
from tests.edge.running import Client, call, client_of

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


async def families(client: Client) -> list[Metric]:
    status, body, response = await client.ask("GET", "/metrics")
    assert status == 200
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return list(text_string_to_metric_families(body.decode()))


async def figures(client: Client) -> dict[str, float]:
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in await families(client)
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
    assert found["sluice_messages_received_total"] == found["sluice_answers_total"] == 3
    assert found["sluice_readers"] == 2
    assert found["sluice_urls_total[ok]"] == 3
    assert found["sluice_urls_total[invalid_url]"] == 1
    assert found["sluice_fetches_joined_total"] == 1
    assert found["sluice_watched_urls"] == found["sluice_polls_total"] == 1
    assert found["sluice_fetches_total[2xx]"] == 3
    assert found["sluice_fetch_seconds_count[total]"] == 3
    assert found["sluice_batches_retained"] == 1
    # The topic's message and the watch's first state.
    assert found["sluice_delivery_seconds_count"] == found["sluice_deliveries_total"] - 5 == 2
    assert found["process_resident_memory_bytes"] > 1 << 20
    assert found["process_open_fds"] > 3


async def test_refused_and_closed_clients_are_counted_by_where_and_why() -> None:
    async with client_of(token="right", websockets=1) as client:
        await client.ask("GET", "/topics/t")
        headers = {"Authorization": "Bearer right"}
        for method, path in (("GET", "/topics/t"), ("GET", "/nowhere"), ("PUT", "/publish")):
            await client.ask(method, path, headers=headers)
        await client.ask("GET", "/ws", headers={**headers, "Origin": "http://elsewhere"})
        async with client.socket() as socket:
            await socket.receive()
        async with client.socket(headers=headers) as socket:
            await call(socket, "no-such-method")
            with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                await client.socket(headers=headers)
            client.session.headers.update(headers)
            found = await figures(client)
    refusals = {name: value for name, value in found.items() if name.startswith("sluice_refusals") and value}
    assert refusals == {
        "sluice_refusals_total[http][unauthorized]": 1,
        "sluice_refusals_total[http][not_found]": 2,
        "sluice_refusals_total[http][method_not_allowed]": 1,
        "sluice_refusals_total[handshake][forbidden]": 1,
        "sluice_refusals_total[handshake][overloaded]": 1,
        "sluice_refusals_total[request][method_not_found]": 1,
    }
    assert found["sluice_closes_total[4401]"] == 1


async def test_the_delivery_histogram_is_one_series_as_the_load_generator_reads_it() -> None:
    async with client_of() as client:
        found = {family.name: family for family in await families(client)}
    delivery = found["sluice_delivery_seconds"]
    assert delivery.type == "histogram"
    bounds = [sample.labels for sample in delivery.samples if sample.name == "sluice_delivery_seconds_bucket"]
    assert [float(labels.pop("le")) for labels in bounds][:: len(bounds) - 2] == [0.0005, 10.0]
    assert not any(bounds)


async def test_names_follow_the_conventions_of_prometheus() -> None:
    async with client_of() as client:
        found = await families(client)
    units = re.compile(r"_(milli|micro|ms|minutes|kib|mib|percent)")
    for family in found:
        assert not units.search(family.name), family.name
        assert (family.type == "counter") == any(sample.name.endswith("_total") for sample in family.samples) or (
            not family.samples
        ), family.name
        if family.type == "histogram":
            assert family.name.endswith("_seconds"), family.name


async def test_it_needs_the_token_and_does_not_tell_it() -> None:
    async with client_of(token="a-very-secret-token") as client:
        assert (await client.ask("GET", "/metrics"))[0] == 401
        headers = {"Authorization": "Bearer a-very-secret-token"}
        _, body, _ = await client.ask("GET", "/metrics", headers=headers)
        assert b"a-very-secret-token" not in body


async def test_every_figure_is_in_the_documents_and_no_other(tmp_path: Path) -> None:
    async with client_of(data=str(tmp_path)) as client:
        found = await families(client)
    reported = [
        (family.name + ("_total" if family.type == "counter" else ""), family.type, family.documentation)
        for family in found
    ]
    assert re.findall(r"^\| `(\w+)` \| (gauge|counter|histogram) \| (.*) \|$", OPERATIONS, re.MULTILINE) == reported


async def test_connections_that_break_are_counted_by_reason() -> None:
    async with client_of() as client, client.socket():
        server = client.service.acceptor._server
        for code in (errno.ETIMEDOUT, errno.ECONNRESET, errno.EPIPE, errno.EIO):
            protocol = server()
            protocol._manager = None
            server.connection_lost(protocol, OSError(code, ""))
        server.connection_lost(server(), None)
        _, text, _ = await client.ask("GET", "/metrics")
    for reason, count in (("unacknowledged", 1), ("reset", 2), ("unreachable", 0), ("other", 1)):
        assert f'sluice_broken_total{{reason="{reason}"}} {count}.0' in text.decode()


@pytest.mark.parametrize("broken", ["FanoutCollector", "ShareCollector", "ProcessCollector"])
async def test_a_collector_that_fails_costs_its_own_figures_alone(
    broken: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with client_of() as client:
        before = (await client.ask("GET", "/metrics"))[1].count(b"# TYPE")

        def fails(_: object) -> list[object]:
            raise RuntimeError("odd")

        monkeypatch.setattr(getattr(metrics, broken), "collect", fails)
        status, body, _ = await client.ask("GET", "/metrics")
        assert status == 200
        assert before / 2 < body.count(b"# TYPE") < before
        assert client.service.supervisor.failures["other"] == 1
    assert broken in str(vars(caplog.records[-1]).get("what", "")) or broken in caplog.text
