"""Answers that wait for the store of topics; see the text of ``session.py`` for the rules of their order."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from service.core.errors import InternalError, SluiceError
from service.core.pending import Pending, gather
from service.core.ports import Peer, Refusals
from service.core.sessions.messages import (
    Answer,
    Id,
    Request,
    dump,
    error_answer,
    publish_answer,
    published,
    result_answer,
)
from service.core.topics.position import Position

__all__ = ["LateAnswers"]


class LateAnswers:
    """What one client is still to be answered, and how outcomes become answers."""

    __slots__ = ("_arrays", "_client", "_on_answered", "_refusals", "waiting")

    def __init__(self, client: Peer, refusals: Refusals) -> None:
        self.waiting = 0
        """How many of its messages."""
        self._arrays = 0
        self._client: Peer | None = client
        self._refusals = refusals
        self._on_answered: Callable[[], object] | None = None

    def reply(self, request_id: Id, answered: bool, outcome: dict[str, Any] | Exception) -> Answer:
        """Return the answer to a request, empty where none is wanted; only until :meth:`end`."""
        if not isinstance(outcome, Exception):
            reply = result_answer(request_id, outcome)
        elif isinstance(outcome, SluiceError):
            self._refusals["request", outcome.reason] += 1
            reply = error_answer(request_id, outcome)
        else:
            assert self._client is not None
            self._client.on_bug(outcome)
            reply = error_answer(request_id, InternalError("a bug of ours; it was logged"))
        return reply if answered else {}

    def send(self, request: Request, result: Pending[Any]) -> Answer:
        """Send the answer once the result is known; return that there is none now."""
        self.waiting += 1
        # Without the request, whose parameters would stay in memory.
        result.on_settled(partial(self._send_made, request.id, request.answered))
        return {}

    def make(self, request: Request, result: Pending[Any]) -> Pending[Answer]:
        """Return the answer, which is part of an array."""
        return result.always(partial(self._made, request.id, request.answered))

    def send_array(self, replies: Sequence[Answer | Pending[Answer]]) -> None:
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

    def _made(self, request_id: Id, answered: bool, outcome: dict[str, Any] | Position | Exception) -> Answer:
        """Return the answer to a request; empty where the connection has ended, but for a bug."""
        if self._client is not None:
            # A publish ends with its position: to convert that before would be one object more for each.
            result = published(outcome) if isinstance(outcome, Position) else outcome
            return self.reply(request_id, answered, result)
        if isinstance(outcome, Exception) and not isinstance(outcome, SluiceError):
            raise outcome
        return {}

    def _send_made(self, request_id: Id, answered: bool, outcome: dict[str, Any] | Position | Exception) -> None:
        if isinstance(outcome, Position) and answered:
            # 20,000 a second come here.
            self._send(publish_answer(request_id, outcome))
        else:
            self._send(dump(self._made(request_id, answered, outcome)))

    def _send_array(self, replies: list[Answer | Exception] | Exception) -> None:
        self._arrays -= 1
        self._send(dump([one for one in replies if one] if isinstance(replies, list) else []))
        if self._client is not None and not self._arrays:
            self._client.resume()

    def _send(self, text: bytes) -> None:
        self.waiting -= 1
        if text and self._client is not None:
            self._client.answer(text)
        if not self.waiting and self._on_answered is not None:
            self._on_answered()
