"""The documents cannot lie: every route and method is in them, and every answer is of the type that they name."""

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import orjson

from service.core import events
from service.core.session import METHODS
from service.edge.openapi import openapi
from tests.edge.running import Client, call, client_of

NDJSON = {"Accept": "application/x-ndjson"}


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
            for method, path in re.findall(r'add_(get|post|delete)\("([^"]+)"', file.read_text())
        }
        assert described["openapi"] == "3.1.0"
    echoes = {("GET", "/echo"), ("POST", "/")}  # there by an option
    assert routes - echoes == described_routes - {("GET", "/")}  # the page's files go by their names


def test_every_reference_leads_somewhere() -> None:
    described = openapi()
    names = set(re.findall(r"#/components/schemas/(\w+)", orjson.dumps(described).decode()))
    assert names <= described["components"]["schemas"].keys()


async def test_every_method_is_in_the_other_document() -> None:
    async with client_of() as client:
        described = await document(client, "/asyncapi.json")
    received = {name for name, operation in described["operations"].items() if operation["action"] == "receive"}
    assert described["asyncapi"] == "3.0.0"
    assert received == set(METHODS)
    text = orjson.dumps(described).decode()
    names = set(re.findall(r"#/components/schemas/(\w+)", text))
    assert names <= described["components"]["schemas"].keys()


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
        are((await client.ask("GET", path))[1], events.BatchState)
        are((await client.ask("DELETE", path))[1], events.Cancelled)
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
