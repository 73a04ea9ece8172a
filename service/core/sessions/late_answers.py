"""Answers that wait for the store of topics; see the text of ``session.py`` for the rules of their order."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from service.core.errors import InternalError, SluiceError, Unanswered
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

__all__ = ["PATIENCE", "LateAnswers", "unanswered"]

PATIENCE: Final = 30.0
"""Seconds that a request waits for the store: a disk of another machine may answer nothing at all."""


def unanswered() -> Unanswered:
    """Return the error for a request that the store has not answered in time."""
    return Unanswered(
        f"storage: it has not answered within {PATIENCE:g} s, and may have stored the message or not; "
        "what had a key can be repeated"
    )


class _Waiting:
    """A request that waits for the store, which calls it with the outcome."""

    __slots__ = ("_answers", "answered", "due", "id", "over", "reply")

    def __init__(self, answers: "LateAnswers", request: Request, due: float, reply: Pending[Answer] | None) -> None:
        # Without the request, whose parameters would stay in memory.
        self.id = request.id
        self.answered = request.answered
        self.due = due
        self.over = False
        self.reply = reply
        """What its answer is given to; None for one that is sent by itself."""
        self._answers = answers

    def __call__(self, outcome: Any) -> None:
        self._answers.settle(self, outcome)


class LateAnswers:
    """What one client is still to be answered, and how outcomes become answers."""

    __slots__ = ("_arrays", "_client", "_line", "_on_answered", "_refusals", "waiting")

    def __init__(self, client: Peer, refusals: Refusals) -> None:
        self.waiting = 0
        """How many of its messages."""
        self._arrays = 0
        self._client: Peer | None = client
        self._refusals = refusals
        self._on_answered: Callable[[], object] | None = None
        self._line: deque[_Waiting] | None = None
        """Requests that wait, in the order in which they came, among some that are over.

        A deque has 760 bytes, and most clients never need one.
        """

    @property
    def bounded(self) -> bool:
        """Whether some request has to be answered by a certain time."""
        return bool(self._line)

    def expire(self, now: float) -> None:
        """Answer the requests whose time is over with an error."""
        for waiting in [one for one in self._line or () if not one.over and one.due <= now]:
            self.settle(waiting, unanswered())
        self._tidy()

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
            reply = error_answer(request_id, InternalError())
        return reply if answered else {}

    def send(self, request: Request, result: Pending[Any], now: float) -> Answer:
        """Send the answer once the result is known, or its time is over; return the empty answer for now."""
        self.waiting += 1
        self._wait(_Waiting(self, request, now + PATIENCE, None), result)
        return {}

    def make(self, request: Request, result: Pending[Any], now: float) -> Pending[Answer]:
        """Return the answer, which is part of an array."""
        reply: Pending[Answer] = Pending()
        self._wait(_Waiting(self, request, now + PATIENCE, reply), result)
        return reply

    def settle(self, waiting: _Waiting, outcome: Any) -> None:
        """Take the outcome of a request; once its time is over, nothing is sent, and only a bug is reported."""
        if waiting.over:
            if isinstance(outcome, Exception) and not isinstance(outcome, SluiceError):
                self._made(waiting.id, waiting.answered, outcome)
            return
        waiting.over = True
        if waiting.reply is not None:
            waiting.reply.settle(self._made(waiting.id, waiting.answered, outcome))
        elif isinstance(outcome, Position) and waiting.answered:
            # 20,000 a second come here.
            self._send(publish_answer(waiting.id, outcome))
        else:
            self._send(dump(self._made(waiting.id, waiting.answered, outcome)))

    def hold(self) -> None:
        """Begin an array that is answered later; until then (:meth:`send_array`) no message is sent."""
        self.waiting += 1
        self._arrays += 1
        if self._client is not None:
            self._client.hold()

    def send_array(self, replies: Sequence[Answer | Pending[Answer]]) -> None:
        """Once all answers are known, send them for the array that :meth:`hold` began."""
        gather(replies).on_settled(self._send_array)

    def when_answered(self, then: Callable[[], object]) -> None:
        """Call back once nothing waits any more, which may be now."""
        if self.waiting:
            self._on_answered = then
        else:
            then()

    def end(self) -> None:
        """Send nothing any more: the connection has ended."""
        self._client = self._on_answered = None
        self._line = None

    def _wait(self, waiting: _Waiting, result: Pending[Any]) -> None:
        self._tidy()
        if self._line is None:
            self._line = deque()
        self._line.append(waiting)
        result.on_settled(waiting)

    def _tidy(self) -> None:
        """Forget the requests at the front that are over: stores answer in order, or nearly so."""
        line = self._line
        while line and line[0].over:
            line.popleft()

    def _made(self, request_id: Id, answered: bool, outcome: dict[str, Any] | Position | Exception) -> Answer:
        """Return the answer to a request; empty where the connection has ended, but for a bug."""
        if self._client is not None:
            # A publish ends with its position: to convert that before would be one object more for each.
            result = published(outcome) if isinstance(outcome, Position) else outcome
            return self.reply(request_id, answered, result)
        if isinstance(outcome, Exception) and not isinstance(outcome, SluiceError):
            raise outcome
        return {}

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
