"""A server that speaks Centrifugo's JSON protocol, and can be made to lose messages."""

from collections import defaultdict
from typing import Any

import orjson

from tests.end_to_end.peers import Peer

__all__ = ["Centrifugo"]


class Centrifugo:
    """Answers commands, pushes publications, several replies in a frame, and sends pings.

    ``drop`` is the ``n`` of the message that one subscriber does not get. Channels are recoverable unless ``forgets``
    is None: it says how many publications the server has forgotten of what was missed. A server that ``restarts`` has
    another epoch for all clients that come back, and no history.
    """

    def __init__(self, *, drop: int = 0, forgets: int | None = None, restarts: bool = False) -> None:
        self._drop = drop
        self._forgets = forgets
        self._restarts = restarts
        self._joined: defaultdict[str, list[Peer]] = defaultdict(list)
        self._history: defaultdict[str, list[Any]] = defaultdict(list)

    def __call__(self, peer: Peer, payload: bytes) -> None:
        command = orjson.loads(payload)
        if not command:
            return
        reply: dict[str, Any] = {"id": command["id"]}
        if "connect" in command:
            reply["connect"] = {"client": "c", "ping": 25}
        elif "subscribe" in command:
            reply["subscribe"] = self._subscribe(peer, command["subscribe"])
        else:
            reply["publish"] = {}
            if self._publish(peer, command["publish"], orjson.dumps(reply)):
                return
        peer.send(orjson.dumps(reply))

    def _subscribe(self, peer: Peer, asked: dict[str, Any]) -> dict[str, Any]:
        self._joined[asked["channel"]].append(peer)
        history = self._history[asked["channel"]]
        if self._forgets is None:
            return {}
        answer = {"recoverable": True, "epoch": "e", "offset": len(history)}
        if not asked.get("recover"):
            return answer
        if self._restarts:
            return {**answer, "recovered": False, "epoch": "f"}
        missed = history[asked["offset"] :]
        forgotten = missed[: min(1, self._forgets)]
        self._forgets -= len(forgotten)
        return {**answer, "recovered": True, "publications": missed[len(forgotten) :]}

    def _publish(self, peer: Peer, asked: dict[str, Any], reply: bytes) -> bool:
        """Push a publication to all subscribers; return whether the reply went with the publisher's own."""
        channel, data = asked["channel"], asked["data"]
        history = self._history[channel]
        history.append({"data": data, "offset": len(history) + 1})
        push = orjson.dumps({"push": {"channel": channel, "pub": history[-1]}})
        joined = self._joined[channel] = [one for one in self._joined[channel] if not one.writer.is_closing()]
        for one in joined:
            if data["n"] == self._drop and one is not peer:
                self._drop = 0
            else:
                one.send(push + b"\n" + reply if one is peer else b"{}\n" + push)
        return peer in joined
