"""What a drain owes to those whom it sends away."""

import asyncio

from tests.edge.running import call, client_of


async def test_what_was_accepted_before_a_socket_is_released_reaches_it_first() -> None:
    async with client_of() as client, client.socket() as socket:
        await call(socket, "subscribe", topic="t")
        client.service.hub.publish("t", b"1", asyncio.get_running_loop().time())
        client.service.sockets.end_idle()
        assert (await socket.receive_json())["params"]["data"] == 1
        assert (await socket.receive()).data == 1001
