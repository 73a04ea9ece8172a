"""An answer that is not known yet, without an event loop."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

__all__ = ["Pending", "gather", "when_known"]

T = TypeVar("T")
U = TypeVar("U")


class Pending(Generic[T]):
    """One answer to come: a value, or the exception that stands for it. Not safe for threads.

    The maker must call :meth:`settle` once, also when it fails; an answer that never comes holds its waiters
    for good. Listeners run inside of ``settle``, in the order in which they were added.
    """

    __slots__ = ("_listeners", "_outcome")

    def __init__(self) -> None:
        self._listeners: list[Callable[[T | Exception], object]] = []
        self._outcome: T | Exception | None = None

    def __repr__(self) -> str:
        return "<Pending>" if self._outcome is None else f"<Pending: {self._outcome!r}>"

    def settle(self, outcome: T | Exception) -> None:
        """Give the answer, which is not None; where a listener raises, the others still hear of it."""
        if self._outcome is not None:
            raise RuntimeError("settled twice")
        self._outcome = outcome
        listeners, self._listeners = self._listeners, []
        bug: Exception | None = None
        for listener in listeners:
            try:
                listener(outcome)
            except Exception as error:
                bug = bug or error
        if bug is not None:
            raise bug

    def on_settled(self, listener: Callable[[T | Exception], object]) -> None:
        """Call the listener with the answer as soon as it is known, which may be now."""
        if self._outcome is None:
            self._listeners.append(listener)
        else:
            listener(self._outcome)

    def then(self, step: "Callable[[T], U | Pending[U]]") -> "Pending[U]":
        """Return the answer that ``step`` makes of this value; exceptions, also of the step, are passed on."""
        result: Pending[U] = Pending()

        def settle(outcome: T | Exception) -> None:
            made: U | Pending[U] | Exception
            try:
                made = outcome if isinstance(outcome, Exception) else step(outcome)
            except Exception as error:
                made = error
            if isinstance(made, Pending):
                made.on_settled(result.settle)
            else:
                result.settle(made)

        self.on_settled(settle)
        return result

    def always(self, step: Callable[[T | Exception], U]) -> "Pending[U]":
        """Return the answer that ``step`` makes of this one, be it a value or an exception."""
        result: Pending[U] = Pending()
        self.on_settled(lambda outcome: result.settle(step(outcome)))
        return result


def when_known(answer: T | Pending[U], then: Callable[[T | U | Exception], object]) -> None:
    """Call back with an answer: now, where it is there at once."""
    if isinstance(answer, Pending):
        answer.on_settled(then)
    else:
        then(answer)


def gather(items: Sequence[T | Pending[T]]) -> Pending[list[T | Exception]]:
    """Return all answers together, in the order of the items, once the last of them is known."""
    result: Pending[list[T | Exception]] = Pending()
    answers: dict[int, T | Exception] = {}

    def settle(index: int, outcome: T | Exception) -> None:
        answers[index] = outcome
        if len(answers) == len(items):
            result.settle([answers[number] for number in range(len(items))])

    for index, item in enumerate(items):
        if isinstance(item, Pending):
            item.on_settled(partial(settle, index))
        else:
            settle(index, item)
    return result
