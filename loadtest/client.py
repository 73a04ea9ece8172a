"""One client of the target: its socket, its number, and its account where it has subscribed."""

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from loadtest.audience import Audience, Member
from loadtest.intake import Intake
from loadtest.payloads import MARKER
from loadtest.position import Position
from loadtest.sequences import sequence_of
from loadtest.sockets import Socket
from loadtest.tally import Tally
from loadtest.targets import Target

__all__ = ["ClientContext"]


class _Context(Protocol):
    """What a client needs of its process' part in the round."""

    target: Target
    intake: Intake
    tally: Tally

    def left(self, why: str | None) -> None:
        """Note that a client has gone; ``why`` when it did not want to."""
        ...

    def nonsense(self, error: Exception) -> None:
        """Count what makes no sense in a message."""
        ...


class ClientContext:
    """What the context has for each connection."""

    __slots__ = ("_context", "_early", "batches", "members", "number", "position", "socket")

    def __init__(self, context: _Context, number: int, socket: Socket) -> None:
        self._context = context
        self.number = number
        self.socket = socket
        self.members: tuple[Member, ...] = ()
        self._early: list[tuple[int, int, float]] | None = None
        """Messages that came before it was known where they begin."""
        self.position = Position()
        self.batches: Any = None
        """The streams of the batches that it has asked for."""
        socket.on_text = self._received

    async def subscribe(self, audiences: Iterable[Audience]) -> None:
        """Subscribe to the topics of audiences and join these. Raises ConnectFailed.

        Messages may follow the answer in the same read: they are kept until it is known where they begin.
        """
        self.hold()
        topics: dict[str, list[Audience]] = {}
        for audience in audiences:
            topics.setdefault(audience.topic, []).append(audience)
        for topic, some in topics.items():
            self.position = await self._context.target.subscribe(self.socket, topic, None)
            joined = (audience.join(self.number, self.position.offset + 1) for audience in some)
            self.members = (*self.members, *joined)
        self._turn_to_members()

    async def come_back(self, gone: "ClientContext") -> Position:
        """Subscribe from where a client was that is gone, and take over its account. Raises ConnectFailed."""
        (member,) = gone.members
        since = self.socket.since
        self.position = await self._context.target.subscribe(self.socket, member.audience.topic, since)
        self.members = gone.members
        if self.position.epoch != gone.position.epoch and self._context.target.MARKER != MARKER:
            # A server's numbers of another epoch have nothing to do with those before; ours go on.
            member.expected = member.audience.before + self.position.offset + 1
        self._turn_to_members()
        return self.position

    @property
    def since(self) -> Position:
        """Where it goes on when it has been away: behind the last message that it has had."""
        (member,) = self.members
        last = member.expected - 1
        mark = self._context.intake.reads.positions.get(last, b"").decode("utf-8", "replace")
        return Position(self.position.epoch, last - member.audience.before, mark=mark or self.position.mark)

    @property
    def has_all(self) -> bool:
        """Whether everything that was published has come to it, or was announced as a gap."""
        return all(member.has(member.audience.head) for member in self.members)

    def hold(self) -> None:
        """Keep messages for the members that will be there."""
        if self._early is None:
            self._early = []
        early = self._early
        self.socket.on_run = lambda *run: early.append(run)

    def _turn_to_members(self) -> None:
        took = self.members[0].took if len(self.members) == 1 else self._took
        for run in self._early or ():
            took(*run)
        self._early = None
        self.socket.on_run = took

    def _took(self, first: int, count: int, now: float) -> None:
        """Hand on messages by their sequence, where there are several."""
        sequence = sequence_of(first)
        for member in self.members:
            if member.audience.sequence.index == sequence:
                member.took(first, count, now)
                return
        # What other programs publish where nobody numbers it belongs to nobody here.
        self._context.tally.count("misrouted" if sequence else "of_others", count)

    def beat(self) -> None:
        """Send the target's heartbeat, and again after its time, for as long as the connection lasts."""
        target = self._context.target
        if self.socket.closed:
            return
        try:
            target.beat(self.socket)
        except Exception as error:
            self._context.nonsense(error)
            return
        asyncio.get_running_loop().call_later(target.HEARTBEAT, self.beat)

    def leave(self) -> None:
        """Say goodbye."""
        if not self.socket.closed:
            self._context.left(None)
        self.socket.close()

    def cut(self) -> None:
        """Go without a word."""
        if not self.socket.closed:
            self._context.left(None)
        self.socket.abort()

    def gone(self, socket: Socket) -> None:
        """Take it as expected that the other side has ended it."""
        self._context.left(None)

    def lost(self, socket: Socket) -> None:
        """Note that the other side has ended it."""
        self._context.left(socket.why)

    def _received(self, socket: Socket, payload: bytes) -> None:
        socket.handled = False
        try:
            outcome = self._context.target.received(socket, payload)
        except Exception as error:
            # In a callback of the loop: nobody above would learn of it.
            self._context.nonsense(error)
            return
        if isinstance(outcome, tuple):
            self._gap(*outcome)
        elif not outcome and not socket.handled and self.members:
            self._context.intake.unrecognised.add(payload)

    def _gap(self, first: int, last: int, topic: str = "") -> None:
        for member in self.members:
            if not topic or member.audience.topic == topic:
                member.gap(member.audience.before + first, member.audience.before + last)
