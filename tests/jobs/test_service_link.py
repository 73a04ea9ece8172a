"""The contract of a worker's link to the service: over HTTP, and the fake one of other tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from service.core.jobs.reports import Claim, Claimed, Reported
from service.jobs.broker import TaskMessage
from service.jobs.outbox import AttemptRefused, ServiceUnreachable
from service.jobs.service_link import HttpLink
from service.jobs.worker_attempt import ServiceLink
from tests.jobs.test_worker_attempt import Link

TASK = TaskMessage("1-" + "0" * 32, 1, "token")
CLAIM = Claim("c" * 32, "celery@w")
CLAIMED = b'{"job":"1-00","attempt":1,"key":"key","name":"f","args":[1],"timeout":60,"heartbeat":3}'
EMPTY = b'{"first":1,"events":[]}'
KINDS = ("refused", "unknown", "busy", "foreign", "mute", "away")
"""What a service may do instead of answering: 409, 404, 503, an answer of something else, none, no connection."""


class ServiceLinkContract:
    """Subclasses make a link to a service that does one thing."""

    def linked(self, does: str) -> AbstractAsyncContextManager[ServiceLink]:
        raise NotImplementedError

    async def test_a_claim_and_a_report_are_answered(self) -> None:
        async with self.linked("answers") as link:
            claimed = await link.claim(TASK, CLAIM)
            assert isinstance(claimed, Claimed)
            assert (claimed.name, claimed.args, claimed.timeout) == ("f", [1], 60)
            assert await link.report(TASK, EMPTY) == Reported(1, stop=False)

    @pytest.mark.parametrize("does", KINDS)
    async def test_what_is_not_an_answer_raises_one_of_two_errors_in_time(self, does: str) -> None:
        loop = asyncio.get_running_loop()
        for act in ("claim", "report"):
            async with self.linked(does) as link:
                began = loop.time()
                with pytest.raises((AttemptRefused, ServiceUnreachable)) as raised:
                    await (link.claim(TASK, CLAIM) if act == "claim" else link.report(TASK, EMPTY))
                assert loop.time() - began <= 10, "within a lease"
                final = does in ("refused", "unknown")
                assert isinstance(raised.value, AttemptRefused if final else ServiceUnreachable)
                assert str(raised.value)
                if isinstance(raised.value, AttemptRefused):
                    assert raised.value.unknown is (does == "unknown")

    async def test_a_call_that_is_cancelled_ends_at_once_and_the_next_one_is_answered(self) -> None:
        async with self.linked("slow") as link:
            loop = asyncio.get_running_loop()
            call = asyncio.create_task(link.report(TASK, EMPTY))
            await asyncio.sleep(0.005)
            began = loop.time()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert loop.time() - began < 0.1
            assert await link.report(TASK, EMPTY) == Reported(1, stop=False)


ANSWERS = {
    "refused": (409, b'{"detail":"another worker has it"}'),
    "unknown": (404, b'{"detail":"no such job"}'),
    "busy": (503, b'{"detail":"draining"}'),
    "foreign": (200, b"<html>welcome</html>"),
}


class TestHttpLink(ServiceLinkContract):
    """The one of workers, to a server that does what the test says."""

    @asynccontextmanager
    async def linked(self, does: str) -> AsyncIterator[ServiceLink]:
        asked: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while head := await reader.readuntil(b"\r\n\r\n"):
                    asked.append(head)
                    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                    await reader.readexactly(length)
                    if does == "mute" or (does == "slow" and len(asked) == 1):
                        await reader.read()
                        return
                    status, body = ANSWERS.get(
                        does, (200, CLAIMED if b"/claim" in head else b'{"next":1,"stop":false}')
                    )
                    writer.write(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        if does == "away":
            server.close()
            await server.wait_closed()
        async with HttpLink(f"http://127.0.0.1:{port}/", None) as link:
            yield link
        server.close()
        await server.wait_closed()
        assert all(b"Authorization: Bearer token" in head for head in asked)


class TestFakeLink(ServiceLinkContract):
    """The one of the tests of attempts."""

    @asynccontextmanager
    async def linked(self, does: str) -> AsyncIterator[ServiceLink]:
        link = Link()
        if does in ("refused", "unknown"):
            link.claim_fails = AttemptRefused("409: another worker has it", unknown=does == "unknown")
            link.service.refuses, link.service.unknown = "409: another worker has it", does == "unknown"
        elif does not in ("answers", "slow"):
            link.claim_fails, link.service.away = ServiceUnreachable(does), True
        yield link
