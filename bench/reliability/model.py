"""The model of delivery: many publishers, clients that are cut and resume, and a ledger of every offset."""

import asyncio
import json
import random
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from bench.reliability.stage import Stage
from bench.reliability.trial import Outcome, Scene, Trial

__all__ = ["TRIALS"]

_RATE = 20.0
"""Messages a second of one publisher."""


@dataclass
class _Ledger:
    """What one client has had of its topic."""

    topic: str
    epoch: str = ""
    offset: int = 0
    had: int = 0
    gapped: int = 0
    wrong: list[str] = field(default_factory=list)
    last: dict[int, int] = field(default_factory=dict)
    """The last number of each publisher."""

    def position(self) -> str:
        """Return where to begin."""
        return f"{self.epoch}:{self.offset}" if self.epoch else "oldest"

    def hear(self, reported: dict[str, Any]) -> None:
        """Take an answer or a notification."""
        if "result" in reported:
            started = reported["result"]
            if self.epoch and not started["recovered"]:
                self.wrong.append(f"not recovered at {self.offset}")
            self.epoch = started["epoch"]
        elif reported["method"] == "gap":
            self.gapped += reported["params"]["to"] - reported["params"]["from"] + 1
            self._follow(reported["params"]["from"], reported["params"]["to"])
        elif reported["method"] == "message":
            self._follow(reported["params"]["offset"], reported["params"]["offset"])
            self.had += 1
            publisher, number = reported["params"]["data"]
            if number <= self.last.get(publisher, 0):
                self.wrong.append(f"publisher {publisher}: {number} after {self.last[publisher]}")
            self.last[publisher] = number

    def _follow(self, begin: int, end: int) -> None:
        if begin != self.offset + 1:
            self.wrong.append(f"offset {begin} after {self.offset}")
        self.offset = end


async def _client(port: int, ledger: _Ledger, kicked: asyncio.Event, ended: asyncio.Event) -> int:
    """Read a topic until the end, cut and resumed as often as someone kicks; return how often."""
    cuts = -1
    while not ended.is_set() or kicked.is_set():
        kicked.clear()
        cuts += 1
        async with connect(f"ws://127.0.0.1:{port}/ws", compression=None, ping_interval=None) as socket:
            params = {"topic": ledger.topic, "since": ledger.position()}
            await socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params}))
            reading = asyncio.create_task(_read(socket, ledger))
            await asyncio.wait(
                [reading, asyncio.create_task(kicked.wait()), asyncio.create_task(ended.wait())],
                return_when=asyncio.FIRST_COMPLETED,
            )
            reading.cancel()
            # Nothing is said: as a client that has lost its network.
            socket.transport.abort()
    return cuts


async def _read(socket: ClientConnection, ledger: _Ledger) -> None:
    try:
        async for text in socket:
            ledger.hear(json.loads(text))
    except WebSocketException:
        return  # cut, by the trial


async def _publisher(port: int, number: int, topics: list[str], seconds: float) -> int:
    """Publish to all topics in turn; return how many were taken."""
    taken = 0
    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with connect(f"ws://127.0.0.1:{port}/ws", compression=None, ping_interval=None) as socket:
        sent = 0
        while loop.time() < begin + seconds:
            sent += 1
            params = {"topic": topics[sent % len(topics)], "data": [number, sent]}
            await socket.send(json.dumps({"jsonrpc": "2.0", "id": sent, "method": "publish", "params": params}))
            taken += "result" in json.loads(await socket.recv())
            await asyncio.sleep(max(0.0, begin + sent / _RATE - loop.time()))
    return taken


async def _crowd(port: int, clients: int, publishers: int, seconds: float) -> tuple[list[_Ledger], int, int, int]:
    """Return the ledgers, how often a client was cut, how many were published, and how many are missing."""
    topics = [f"model/{number}" for number in range(10)]
    chance = random.Random(24)
    ledgers = [_Ledger(topics[number % len(topics)]) for number in range(clients)]
    kicks = [asyncio.Event() for _ in ledgers]
    ended = asyncio.Event()
    reading = [
        asyncio.create_task(_client(port, ledger, kick, ended)) for ledger, kick in zip(ledgers, kicks, strict=True)
    ]
    writing = [asyncio.create_task(_publisher(port, number, topics, seconds)) for number in range(publishers)]
    while not all(task.done() for task in writing):
        await asyncio.sleep(0.05)
        chance.choice(kicks).set()
    taken = sum(await asyncio.gather(*writing))
    heads = {topic: max(one.offset for one in ledgers if one.topic == topic) for topic in topics}
    deadline = asyncio.get_running_loop().time() + 10
    while any(one.offset < heads[one.topic] for one in ledgers) and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.1)
        heads = {topic: max(one.offset for one in ledgers if one.topic == topic) for topic in topics}
    ended.set()
    cuts = sum(await asyncio.gather(*reading))
    missing = taken - sum(heads.values()) + sum(heads[one.topic] - one.offset for one in ledgers)
    return ledgers, cuts, taken, missing


def _delivery(scene: Scene) -> Outcome:
    clients, publishers, seconds = scene.many(200, least=20), scene.many(50, least=5), scene.seconds(60, 5)
    with Stage(scene) as stage:
        ledgers, cuts, taken, missing = asyncio.run(_crowd(stage.port, clients, publishers, seconds))
        stage.attacked()
        wrong = [one for ledger in ledgers for one in ledger.wrong]
        outcome = stage.outcome(
            f"{publishers} publishers, {clients} clients cut {cuts} times, {taken} messages",
            {
                "order kept, nothing twice": not wrong,
                "nothing missing": missing == 0,
                "no gap: every cut was recovered": not any(ledger.gapped for ledger in ledgers),
            },
            factor=2.0,
            delivered=sum(ledger.had for ledger in ledgers),
            wrong=", ".join(wrong[:3]) or "none",
        )
        outcome.lost += missing
        return outcome


TRIALS = [Trial(24, "delivery", "order kept, nothing lost, nothing twice, across cuts", _delivery)]
