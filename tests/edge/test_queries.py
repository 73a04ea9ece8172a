"""Query parameters: ours are taken, others passed over, and what is nearly ours is named."""

import asyncio
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from service.core.errors import InvalidParams
from service.edge.http.queries import STREAM, check_query
from tests.edge.running import client_of


@pytest.mark.parametrize(
    ("query", "right"),
    [
        ("Since=oldest", "since"), ("SINCE=oldest", "since"), ("sinc=oldest", "since"), ("sincee=1", "since"),
        ("snice=1", "since"), ("zince=1", "since"), ("onlag=latest", "on_lag"), ("on-lag=latest", "on_lag"),
        ("onLag=latest", "on_lag"), ("on_lagg=1", "on_lag"), ("last-event-id=E:1", "lastEventId"),
        ("lasteventid=E:1", "lastEventId"), ("Last-Event-ID=E:1", "lastEventId"), ("last_event_ids=1", "last"),
    ],
)  # fmt: skip
def test_what_is_nearly_ours_is_refused_and_named(query: str, right: str) -> None:
    with pytest.raises(InvalidParams, match=right):
        check_query(make_mocked_request("GET", f"/?{query}"), STREAM)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "_=17",
        "utm_source=x",
        "t=1",
        "nonce=1",
        "on=1",
        "lag=1",
        "since=1&since=1",
        "lastEventId=1&lastEventId=2",
    ],
)
def test_what_others_add_is_passed_over(query: str) -> None:
    check_query(make_mocked_request("GET", f"/?{query}"), STREAM)


def test_two_values_of_one_parameter_are_refused() -> None:
    with pytest.raises(InvalidParams, match="more than once"):
        check_query(make_mocked_request("GET", "/?since=oldest&since=newest"), STREAM)


@pytest.mark.parametrize("path", ["/topics/t/events?Since=oldest", "/watch?url=http://a.example/&every=1&selct=p"])
async def test_the_routes_refuse_what_is_misspelt(path: str) -> None:
    async with client_of() as client:
        status, problem, _ = await client.ask("GET", path)
        assert (status, problem["reason"]) == (422, "invalid_params")


async def offsets(client: Any, query: str, **headers: str) -> list[int]:
    """Return the offsets that a stream of three messages begins with."""
    found = []
    async with (
        asyncio.timeout(5),
        client.session.get(
            client.url(f"/topics/t/events{query}"), headers={"Accept": "text/event-stream", **headers}
        ) as stream,
    ):
        async for line in stream.content:
            if line.startswith(b"id: ") and (offset := int(line.rpartition(b":")[2])) not in found:
                found.append(offset)
            if found and found[-1] == 3:
                break
    return found


async def test_the_last_event_id_of_polyfills_wins_over_since_and_the_header_over_all() -> None:
    async with client_of() as client:
        for number in range(3):
            _, reported, _ = await client.ask("POST", "/topics/t", json=number)
        epoch = reported["epoch"]
        for name in ("lastEventId", "last_event_id"):
            assert await offsets(client, f"?since=oldest&{name}={epoch}:1") == [1, 2, 3]
            assert await offsets(client, f"?{name}={epoch}:1&{name}={epoch}:2") == [2, 3], "the newest is the last"
            assert await offsets(client, f"?{name}={epoch}:1&{name}=") == [1, 2, 3], "a blank one is none"
            assert await offsets(client, f"?{name}=+{epoch}%3A1%20&since=oldest") == [1, 2, 3]
            assert await offsets(client, f"?{name}=&since=oldest") == [0, 1, 2, 3]
            assert await offsets(client, f"?{name}=%20&since=oldest", **{"Last-Event-ID": " "}) == [0, 1, 2, 3]
            assert await offsets(client, f"?since=oldest&{name}=other:7") == [0, 1, 2, 3]
            assert await offsets(client, f"?since=oldest&{name}={epoch}:99") == [0, 1, 2, 3]
        both = {"Last-Event-ID": f"{epoch}:2"}
        assert await offsets(client, f"?since=oldest&lastEventId={epoch}:1", **both) == [2, 3]


async def test_a_stream_says_when_to_come_back() -> None:
    async with client_of() as client:
        waits = set()
        for _ in range(5):
            async with client.session.get(
                client.url("/topics/t/events"), headers={"Accept": "text/event-stream"}
            ) as stream:
                name, _, value = (await stream.content.readline()).partition(b": ")
                assert name == b"retry"
                assert 1000 <= int(value) <= 5000
                waits.add(int(value))
        assert len(waits) > 1, "all would come back at once"
