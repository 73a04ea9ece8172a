"""Clients of a service that crashes: they come back with their positions, and publish again what had no answer."""

import asyncio
from functools import partial
from time import monotonic

from loadtest.client import ClientContext
from loadtest.context import WorkerContext
from loadtest.sockets import ConnectFailed, Socket
from loadtest.targets.sluice import Sluice

__all__ = ["Returning"]

_FIRST, _LONGEST = 0.1, 1.0
"""Seconds until the next attempt to come back, growing."""
_PATIENCE = 60.0
"""Seconds for which a message is published again."""


class Returning:
    """All clients of a process: each is replaced by the one that comes back for it."""

    def __init__(self, context: WorkerContext, clients: list[ClientContext]) -> None:
        self._context = context
        assert isinstance(context.target, Sluice)
        self._target = context.target
        self._clients = {client.number: client for client in clients}
        self._back = {client.number: asyncio.Event() for client in clients}
        self._places = asyncio.Semaphore(max(1, context.options.at_once // context.link.count))
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False
        for client in clients:
            self._watch(client)

    @property
    def clients(self) -> list[ClientContext]:
        """Those that are there now."""
        return list(self._clients.values())

    def close(self) -> None:
        """Have nobody come back any more."""
        self._over = True
        for task in self._tasks:
            task.cancel()

    def _watch(self, client: ClientContext) -> None:
        self._back[client.number].set()
        if client.socket.closed:
            self._lost(client)
        else:
            client.socket.on_close = partial(self._gone, client)

    def _gone(self, client: ClientContext, socket: Socket) -> None:
        client.gone(socket)
        self._lost(client)

    def _lost(self, client: ClientContext) -> None:
        self._context.tally.count("cut_off")
        self._back[client.number].clear()
        if not self._over:
            task = asyncio.get_running_loop().create_task(self._come_back(client, monotonic()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _come_back(self, client: ClientContext, lost: float) -> None:
        delay = _FIRST
        while True:
            # Not all at the same moment.
            await asyncio.sleep(delay * (1 + client.number % 10 / 10))
            delay = min(2 * delay, _LONGEST)
            again = await self._attempt(client)
            if again is not None:
                break
        tally, position = self._context.tally, again.position
        tally.count("returned")
        tally.latency("resume", lost, monotonic())
        tally.count("recovered" if position.recovered else "not_recovered")
        tally.count("epochs_changed", position.epoch != client.position.epoch)
        self._clients[client.number] = again
        self._watch(again)

    async def _attempt(self, client: ClientContext) -> ClientContext | None:
        context = self._context
        async with self._places:
            try:
                again = await context.client(client.number, client.members[0].audience.topic, since=client.since)
            except ConnectFailed:
                return None
            # Until it has its place, its end is one more attempt that failed.
            again.socket.on_close = again.gone
            try:
                await context.answered(again.come_back(client))
            except ConnectFailed:
                if not again.socket.closed:
                    again.cut()
                return None
        return again

    async def publish(self, client: ClientContext, topic: str, data: bytes, key: str) -> int | None:
        """Publish, again and again with the same key until it is acknowledged. Raises ConnectFailed."""
        context, began, number = self._context, monotonic(), client.number
        context.account.started()
        while True:
            try:
                async with asyncio.timeout(context.options.answer_timeout):
                    await self._back[number].wait()
                    socket: Socket = self._clients[number].socket
                    offset = await self._target.publish_once(socket, topic, data, key)
            except (ConnectFailed, TimeoutError) as error:
                if monotonic() - began > _PATIENCE:
                    context.account.unanswered()
                    raise ConnectFailed(f"publish: not acknowledged within {_PATIENCE:g} s: {error}") from None
                context.tally.count("retried")
                await asyncio.sleep(_FIRST)
            else:
                context.account.made()
                return offset
