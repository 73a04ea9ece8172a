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

    # Most have one listener, and there are four for each publish that is stored: a list costs more than the rest.
    __slots__ = ("_first", "_others", "_outcome")

    def __init__(self) -> None:
        self._first: Callable[[T | Exception], object] | None = None
        self._others: list[Callable[[T | Exception], object]] | None = None
        self._outcome: T | Exception | None = None

    def __repr__(self) -> str:
        return "<Pending>" if self._outcome is None else f"<Pending: {self._outcome!r}>"

    def settle(self, outcome: T | Exception) -> None:
        """Give the answer, which is not None; where a listener raises, the others still hear of it."""
        if self._outcome is not None:
            raise RuntimeError("settled twice")
        self._outcome = outcome
        first, others = self._first, self._others
        if first is None:
            return
        self._first = self._others = None
        if others is None:
            first(outcome)
        else:
            _call_all((first, *others), outcome)

    @property
    def known(self) -> bool:
        """Whether the answer is there."""
        return self._outcome is not None

    def on_settled(self, listener: Callable[[T | Exception], object]) -> None:
        """Call the listener with the answer as soon as it is known, which may be now."""
        if self._outcome is not None:
            listener(self._outcome)
        elif self._first is None:
            self._first = listener
        elif self._others is None:
            self._others = [listener]
        else:
            self._others.append(listener)

    def then(self, step: "Callable[[T], U | Pending[U]]") -> "Pending[U]":
        """Return the answer that ``step`` makes of this value; exceptions, also of the step, are passed on."""
        result = _Step(step)
        self.on_settled(result.follow)
        return result

    def always(self, step: Callable[[T | Exception], U]) -> "Pending[U]":
        """Return the answer that ``step`` makes of this one, be it a value or an exception."""
        result = _Conversion(step)
        self.on_settled(result.follow)
        return result


class _Conversion(Pending[U], Generic[T, U]):
    """What is made of another answer, be it a value or an exception."""

    __slots__ = ("_step",)

    def __init__(self, step: Callable[[T | Exception], U]) -> None:
        self._first = self._others = self._outcome = None
        self._step = step

    def follow(self, outcome: T | Exception) -> None:
        """Answer with what is made of the other answer."""
        self.settle(self._step(outcome))


class _Step(Pending[U], Generic[T, U]):
    """The answer that a step makes of another one."""

    __slots__ = ("_step",)

    def __init__(self, step: "Callable[[T], U | Pending[U]]") -> None:
        self._first = self._others = self._outcome = None
        self._step = step

    def follow(self, outcome: T | Exception) -> None:
        """Answer with what the step makes of the other answer."""
        made: U | Pending[U] | Exception
        try:
            made = outcome if isinstance(outcome, Exception) else self._step(outcome)
        except Exception as error:
            made = error
        if isinstance(made, Pending):
            made.on_settled(self.settle)
        else:
            self.settle(made)


def _call_all(listeners: Sequence[Callable[[T], object]], outcome: T) -> None:
    bug: Exception | None = None
    for listener in listeners:
        try:
            listener(outcome)
        except Exception as error:
            bug = bug or error
    if bug is not None:
        raise bug


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
