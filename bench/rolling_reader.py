"""Python clients that read one topic through restarts and cuts: ``python -m bench.rolling_reader URL COUNT``.

It tells how far all have come, then gives an account of what each has had. bench/rolling.mjs does the same.
"""

import asyncio
import sys
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import orjson

from service.client import Client, Gap, Message, Restart, Value

__all__: list[str] = []


class Account:
    """What one client has had of the topic, as runs of offsets, and what is wrong with it."""

    def __init__(self) -> None:
        self.runs: list[list[Any]] = []
        """Lists of epoch, "had" or "gone", first and last offset."""
        self.wrong: list[str] = []
        self._epoch = ""
        self._offset = 0

    def begin(self, epoch: str, offset: int) -> None:
        """Take where the stream begins."""
        self._epoch, self._offset = epoch, offset

    def handle(self, value: Value) -> None:
        """Take what the stream says next."""
        match value:
            case Restart():
                if value.epoch == self._epoch:
                    self.wrong.append(f"a restart within {value.epoch}")
                self.begin(value.epoch, value.offset)
            case Gap():
                self._add("gone", value.first, value.last)
            case Message():
                if value.epoch != self._epoch:
                    self.wrong.append(f"{value.epoch} without a restart")
                self._add("had", value.offset, value.offset)

    def _add(self, what: str, first: int, last: int) -> None:
        if first != self._offset + 1:
            self.wrong.append(f"{what} {first} after {self._offset}")
        self._offset = last
        if self.runs and self.runs[-1][:2] == [self._epoch, what]:
            self.runs[-1][3] = last
        else:
            self.runs.append([self._epoch, what, first, last])


AT_ONCE = 20
"""Clients of one process that begin at the same time: a burst is for ``./x bench storms``."""


class Crowd:
    """The clients of this process; tells when all of them have met so many epochs."""

    def __init__(self, url: str, count: int) -> None:
        self._url = url
        self._count = count
        self._met: Counter[int] = Counter()
        self._beginning = asyncio.Semaphore(AT_ONCE)

    async def run(self) -> list[Account]:
        """Read with all clients to the message "last"."""
        return await asyncio.gather(*(self._read() for _ in range(self._count)))

    async def _read(self) -> Account:
        account, epochs = Account(), set()
        async with AsyncExitStack() as stack:
            async with self._beginning:
                client = await stack.enter_async_context(Client(self._url))
                stream = await stack.enter_async_context(client.subscribe("t", since="oldest"))
            assert stream.position
            account.begin(stream.position.epoch, stream.position.offset)
            async for value in stream:
                account.handle(value)
                if isinstance(value, Message):
                    if value.epoch not in epochs:
                        epochs.add(value.epoch)
                        self._moved(len(epochs))
                    if value.data == "last":
                        break
        return account

    def _moved(self, epochs: int) -> None:
        self._met[epochs] += 1
        if self._met[epochs] == self._count:
            print(f"met {epochs}", flush=True)


def main() -> None:
    """Run the clients, and print what each kind of account is, and of how many clients."""
    accounts = asyncio.run(Crowd(sys.argv[1], int(sys.argv[2])).run())
    kinds = Counter(orjson.dumps({"runs": account.runs, "wrong": account.wrong}) for account in accounts)
    reported = [{"clients": count, **orjson.loads(kind)} for kind, count in kinds.items()]
    print(orjson.dumps(reported).decode(), flush=True)


if __name__ == "__main__":
    main()
