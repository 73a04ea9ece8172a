"""Answers that wait for the store of topics; see the text of ``session.py`` for the rules of their order."""

from collections.abc import Callable, Sequence

from service.core.pending import Pending, gather
from service.core.ports import Peer
from service.core.sessions.messages import Answer, dump

__all__ = ["LateAnswers"]


class LateAnswers:
    """What one client is still to be answered."""

    __slots__ = ("_arrays", "_client", "_on_answered", "waiting")

    def __init__(self, client: Peer) -> None:
        self.waiting = 0
        """How many of its messages."""
        self._arrays = 0
        self._client: Peer | None = client
        self._on_answered: Callable[[], object] | None = None

    def add(self, reply: Pending[Answer]) -> None:
        """Send an answer once it is known."""
        self.waiting += 1
        reply.on_settled(self._send)

    def add_array(self, replies: Sequence[Answer | Pending[Answer]]) -> None:
        """Send the answer to an array once all of it is known; until then the client gets no messages."""
        self.waiting += 1
        self._arrays += 1
        if self._client is not None:
            self._client.hold()
        gather(replies).on_settled(self._send_array)

    def when_answered(self, then: Callable[[], object]) -> None:
        """Call back once nothing waits any more, which may be now."""
        if self.waiting:
            self._on_answered = then
        else:
            then()

    def end(self) -> None:
        """Send nothing any more: the connection has ended."""
        self._client = None

    def _send_array(self, replies: list[Answer | Exception] | Exception) -> None:
        self._arrays -= 1
        self._send(replies)
        if self._client is not None and not self._arrays:
            self._client.resume()

    def _send(self, reply: Answer | list[Answer | Exception] | Exception) -> None:
        self.waiting -= 1
        text = dump([one for one in reply if one] if isinstance(reply, list) else reply)
        if text and self._client is not None:
            self._client.answer(text)
        if not self.waiting and self._on_answered is not None:
            self._on_answered()
