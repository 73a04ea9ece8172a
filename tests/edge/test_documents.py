"""The documents cannot lie: every route and method is in them, and every answer is of the type that they name."""

import asyncio
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import msgspec
import openapi_spec_validator
import orjson
import pytest
from yarl import URL

from service.core import events
from service.core.errors import InvalidParams
from service.core.fetching.batch import BatchLimits
from service.core.jobs import answers as jobs
from service.core.jobs.request import JobRequest, kind_of
from service.core.parsing import convert
from service.core.sessions.closing import CLOSINGS
from service.core.sessions.session import METHODS
from service.edge.description.asyncapi import NOTIFICATIONS, RESULTS, asyncapi
from service.edge.description.openapi import openapi
from service.edge.description.schemas import ERRORS
from service.work.pipelines.events import EVENTS
from tests.edge.running import Client, call, client_of
from tests.edge.test_pipelines import toml

NDJSON = {"Accept": "application/x-ndjson"}
ASYNCAPI = Path(__file__).parents[1] / "data" / "asyncapi" / "asyncapi-3.0.0.json"


def openapi_document(limits: BatchLimits | None = None, *, token: bool = False) -> Any:
    return orjson.loads(orjson.dumps(openapi(limits or BatchLimits(), token=token)))


def asyncapi_document(*, token: bool = False) -> Any:
    return orjson.loads(orjson.dumps(asyncapi(BatchLimits(), token=token)))


def are(answer: Any, kind: Any) -> None:
    msgspec.convert(answer, kind)


async def document(client: Client, path: str) -> Any:
    status, body, response = await client.ask("GET", path)
    assert (status, response.content_type) == (200, "application/json")
    return body


async def test_every_route_is_in_the_document_and_no_other() -> None:
    async with client_of() as client:
        described = await document(client, "/openapi.json")
        described_routes = {
            (method.upper(), path)
            for path, item in described["paths"].items()
            for method in item
            if method != "parameters"
        }
        routes = {
            (method.upper(), re.sub(r"\{(\w+):[^}]*\}", r"{\1}", path))
            for file in (Path(__file__).parents[2] / "service").rglob("*.py")
            for method, path in re.findall(r'add_(get|post|patch|delete)\("([^"]+)"', file.read_text())
        }
        assert described["openapi"] == "3.1.0"
    echoes = {("GET", "/echo"), ("POST", "/")}  # there by an option
    workers = {route for route in routes if route[1].startswith("/jobs/{id}/attempts/")}  # of the same version
    assert len(workers) == 2
    assert routes - echoes - workers == described_routes - {("GET", "/")}  # the page's files go by their names


@pytest.mark.parametrize("token", [False, True])
def test_each_document_is_valid_by_its_official_schema(token: bool) -> None:
    openapi_spec_validator.validate(openapi_document(token=token))
    validator = jsonschema.Draft7Validator(orjson.loads(ASYNCAPI.read_bytes()))
    assert [error.message for error in validator.iter_errors(asyncapi_document(token=token))] == []


@pytest.mark.parametrize("document", [openapi_document(), asyncapi_document()])
def test_every_reference_leads_somewhere(document: Any) -> None:
    for reference in set(re.findall(r'"\$ref":"#/([^"]+)"', orjson.dumps(document).decode())):
        found = document
        for part in reference.split("/"):
            found = found[part]


def test_the_operators_limits_and_credentials_are_in_the_document() -> None:
    limits = BatchLimits(urls=7, methods=frozenset({"GET", "HEAD", "POST"}))
    schemas = openapi_document(limits, token=True)["components"]["schemas"]
    assert schemas["BatchRequest"]["properties"]["urls"]["anyOf"][0]["maxItems"] == 7
    assert schemas["Options"]["properties"]["method"]["enum"] == ["GET", "HEAD", "POST"]
    assert openapi_document(token=True)["security"] == [{"token": []}]
    assert {} in openapi_document(token=False)["security"]
    assert "security" in asyncapi_document(token=True)["operations"]["ping"]
    assert "security" not in asyncapi_document(token=False)["operations"]["ping"]


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({"X-A": "b"}, True),
        ({"HoSt": "b"}, False),
        ({"Proxy-Anything": "b"}, False),
        ({"Hosts": "b"}, True),
        ({"a b": "c"}, False),
        ({"a": "\0"}, False),
    ],
)
async def test_the_schema_of_headers_says_what_the_service_does(headers: dict[str, str], good: bool) -> None:
    document = openapi_document()
    schema = {**document["components"]["schemas"]["Options"], "components": document["components"]}
    assert jsonschema.Draft202012Validator(schema).is_valid({"headers": headers}) == good
    async with client_of() as client:
        body = {"urls": [f"{client.origin}/bytes/1"], "options": {"headers": headers}}
        assert (await client.batch(body))[0] == (200 if good else 422)


@pytest.mark.parametrize(
    ("body", "good"),
    [
        ({"call": {"url": "http://a/"}, "key": "order 1"}, True),
        ({"call": {"url": "http://a/"}, "key": None}, True),
        ({"call": {"url": "http://a/"}, "key": " order"}, False),
        ({"call": {"url": "http://a/"}, "key": "\u00e9"}, False),
        ({"call": {"url": "http://a/"}, "key": "a\nb"}, False),
        ({"publish": {"topic": "t", "data": 1}, "key": "\u00e9"}, True),
        ({"publish": {"topic": "t", "data": 1}, "run": {"name": "f"}}, False),
        ({"call": {"url": "http://a/", "method": "GET", "body": "b"}}, False),
        ({"fetch": {"urls": []}}, False),
    ],
)
def test_the_schema_of_jobs_says_what_the_service_does(body: dict[str, object], good: bool) -> None:
    document = openapi_document()
    schema = {**document["components"]["schemas"]["JobRequest"], "components": document["components"]}
    assert jsonschema.Draft202012Validator(schema).is_valid(body) == good
    with nullcontext() if good else pytest.raises(InvalidParams):
        kind_of(convert(body, JobRequest))


async def test_every_method_is_in_the_other_document() -> None:
    async with client_of() as client:
        described = await document(client, "/asyncapi.json")

    def named(action: str) -> set[str]:
        return {name for name, operation in described["operations"].items() if operation["action"] == action}

    assert described["asyncapi"] == "3.0.0"
    assert named("receive") == {*METHODS, "array", "pipeline.item", "pipeline.end"}
    assert RESULTS.keys() == METHODS.keys()
    assert named("send") == {*NOTIFICATIONS, "pipeline.output", *(f"pipeline.{name}" for name in EVENTS)}
    socket = described["channels"]["socket"]
    assert [row["code"] for row in socket["x-close-codes"]] == [closing.code for closing in CLOSINGS]
    pairs = {
        (one["properties"]["code"]["const"], one["properties"]["data"]["properties"]["reason"]["const"])
        for one in socket["messages"]["error"]["payload"]["properties"]["error"]["oneOf"]
    }
    assert pairs == {(error.code, error.reason) for error in ERRORS}


def message_schema(document: Any, name: str, channel: str = "socket") -> jsonschema.Draft202012Validator:
    payload = document["channels"][channel]["messages"][name]["payload"]
    return jsonschema.Draft202012Validator({**payload, "components": document["components"]})


async def test_what_goes_over_a_websocket_is_of_the_types_that_are_named() -> None:
    described = asyncapi_document()
    async with client_of(ring_messages=1) as client, client.socket() as socket:
        url = f"{client.origin}/etag/a"
        asked = {
            "subscribe": {"topic": "t", "on_lag": "drop_oldest", "since": {"epoch": "e", "offset": 3}},
            "publish": {"topic": "t", "data": [1]},
            "presence": {"topic": "t"},
            "fetch": {"urls": [url]},
            "watch": {"url": url, "every": 5},
            "unwatch": {"topic": "watch:x"},
            "unsubscribe": {"topic": "t"},
            "job": {"publish": {"topic": "t", "data": 1}, "delay": 100},
            "cancel": {"batch": "none"},
            "authenticate": {"token": "x"},
            "ping": {},
        }
        assert asked.keys() == METHODS.keys()
        for method, params in asked.items():
            request = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
            message_schema(described, method).validate(request)
            await socket.send_json(request)
            answer = await answer_of(described, socket, method)
            message_schema(described, "error" if "error" in answer else f"{method}.answer").validate(answer)
        for wrong in ({"jsonrpc": "2.0", "id": 1, "method": "subscribe"}, {"jsonrpc": "2.0", "id": 1}):
            assert not message_schema(described, "subscribe").is_valid(wrong)
            await socket.send_json(wrong)
            message_schema(described, "error").validate(await answer_of(described, socket, 1))


async def answer_of(described: Any, socket: aiohttp.ClientWebSocketResponse, request: Any) -> Any:
    """Return the answer to a request; the notifications before it are looked at on the way."""
    while True:
        reported = await socket.receive_json()
        if reported.get("id") == request:
            return reported
        message_schema(described, reported["method"]).validate(reported)


async def test_what_a_pipeline_sends_beside_its_outputs_is_of_the_types_that_are_named(tmp_path: Path) -> None:
    described, seen = asyncapi_document(), set[str]()
    file = tmp_path / "pipelines.toml"
    file.write_text(toml("facts loop", "slowly loop queue=1"))
    async with client_of(pipelines=str(file)) as client:
        at = client.url(described["channels"]["pipeline"]["address"].format(name="p"))
        query = described["channels"]["pipeline"]["bindings"]["ws"]["query"]["properties"]
        assert query.keys() == {"full", "to"}
        async with client.session.ws_connect(f"{at}?full=drop_oldest&to=t") as socket:
            await socket.send_str("[]")
            await socket.send_bytes(b"bad")
            events = [await socket.receive_json(), await socket.receive_json()]
            for _ in range(20):
                await socket.send_bytes(b"a")
            async with asyncio.timeout(300):
                while events[-1]["event"] != "dropped":
                    message = await socket.receive()
                    if message.type is aiohttp.WSMsgType.TEXT:
                        events.append(message.json())
            draining = asyncio.create_task(client.service.drain())
            events += [message.json() async for message in socket if message.type is aiohttp.WSMsgType.TEXT]
            await draining
    for event in events:
        message_schema(described, event["event"], "pipeline").validate(event)
        seen.add(event["event"])
    assert seen == EVENTS.keys() - {"unpublished"}


async def test_a_query_that_no_schema_allows_is_refused_also_where_another_parameter_wins() -> None:
    async with client_of() as client:
        for since in ("", "nonsense", "a:b:3", "e:1x"):
            path = f"/topics/t/events?since={since}"
            assert (await client.ask("GET", path, headers={"Last-Event-ID": "e:1"}))[0] == 422


async def test_a_whole_number_may_be_written_with_a_point() -> None:
    async with client_of() as client:
        body = {"urls": [f"{client.origin}/bytes/1"], "options": {"retries": 1.0, "max_bytes": 10.0}}
        assert (await client.batch(body))[0] == 200
        body["options"] = {"retries": 1.5}
        status, answer, _ = await client.batch(body)
        assert (status, b"options.retries" in answer) == (422, True)


async def test_the_name_of_a_topic_may_end_in_events_where_its_slash_is_encoded() -> None:
    async with client_of() as client:
        status, _, response = await client.ask("POST", "/topics/a/events", json=1)
        assert (status, response.headers["Allow"]) == (405, "GET,HEAD")
        path = URL(client.url("/topics/a%2Fevents"), encoded=True)
        async with client.session.post(path, json=1) as response:
            assert response.status == 200
        async with client.session.get(path) as response:
            assert (await response.json())["topic"] == "a/events"


@pytest.mark.parametrize("path", ["/topics/t/events", "/watch?url={origin}/etag/a&every=5"])
async def test_head_of_a_stream_is_its_headers_and_the_connection_goes_on(path: str) -> None:
    async with client_of() as client:
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(connector=connector) as session:
            for _ in range(2):
                async with session.head(client.url(path.format(origin=client.origin))) as response:
                    assert response.status == 200
                    assert "Transfer-Encoding" not in response.headers or await response.read() == b""
            async with session.get(client.url("/healthz")) as response:
                assert response.status == 200
        assert not client.service.streams.readers


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense\r\n\r\n",
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_malformed_http_is_refused_with_a_problem_document(body: bytes, caplog: Any) -> None:
    async with client_of() as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.service.port)
        writer.write(body)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
    assert re.match(rb"HTTP/1.[01] 400 ", head)
    assert b"application/problem+json" in head
    are(orjson.loads(body), events.Problem)
    assert b"xxx" not in body
    assert not caplog.records, "a stranger's nonsense does not fill the log"


async def test_answers_are_of_the_types_that_are_named() -> None:
    async with client_of() as client:
        urls = [f"{client.origin}/bytes/5", f"{client.origin}/etag/a", f"{client.origin}/fail", "nonsense"]
        for _ in range(2):
            _, body, response = await client.batch({"urls": urls})
            are(orjson.loads(body), events.BatchDocument)
        _, body, _ = await client.batch({"urls": urls}, **NDJSON)
        for line in body.splitlines():
            are(orjson.loads(line), events.Result | events.Failed | events.Done)
        path = f"/batches/{response.headers['Sluice-Batch']}"
        are((await client.ask("GET", path))[1], events.BatchStatus)
        are((await client.ask("DELETE", path))[1], events.Cancelled)
        _, made, _ = await client.ask("POST", "/jobs", json={"publish": {"topic": "t", "data": 1}})
        are(made, jobs.JobAccepted)
        _, lines, _ = await client.ask("GET", f"/jobs/{made['job']}/events")
        for line in lines.splitlines():
            are(orjson.loads(line), jobs.JobQueued | jobs.JobStarted | jobs.JobDone)
        are((await client.ask("GET", f"/jobs/{made['job']}"))[1], jobs.JobView)
        are((await client.ask("DELETE", f"/jobs/{made['job']}"))[1], jobs.JobCancel)
        are((await client.ask("GET", "/jobs"))[1], jobs.JobList)
        are((await client.ask("POST", "/topics/t", json=1))[1], events.Published)
        are((await client.ask("GET", "/topics/t"))[1], events.TopicInfo)
        are((await client.ask("POST", "/publish", json={"topics": ["t"], "data": 1}))[1], events.PublishedMany)
        for path in ("/healthz", "/readyz"):
            are((await client.ask("GET", path))[1], events.Health)
        for method, path in (("GET", "/none"), ("GET", "/batches/none"), ("PUT", "/publish"), ("POST", "/publish")):
            _, problem, response = await client.ask(method, path)
            assert response.content_type == "application/problem+json"
            are(problem, events.Problem)


async def test_watches_and_streams_are_of_the_types_that_are_named() -> None:
    async with client_of(ring_messages=2) as client, client.socket() as socket:
        for number in range(5):
            await client.ask("POST", "/topics/t", json=number)
        _, info, _ = await client.ask("GET", "/topics/t")
        async with client.session.get(client.url(f"/topics/t/events?since={info['epoch']}:1")) as stream:
            are(orjson.loads(await stream.content.readline()), events.Started)
            are(orjson.loads(await stream.content.readline()), events.Gap)
        await call(socket, "watch", url=f"{client.origin}/etag/a", every=1)
        are((await socket.receive_json())["params"]["data"], events.WatchState)
        await call(socket, "watch", url=f"{client.origin}/status/500", every=1)
        message = await asyncio.wait_for(socket.receive_json(), 60)
        are(message["params"]["data"], events.WatchError)
