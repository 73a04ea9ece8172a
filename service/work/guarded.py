"""Functions of operators, called so that no exception of theirs ends more than the call."""

from collections.abc import Callable
from typing import TypeVar

__all__ = ["ended_by", "guarded"]

T = TypeVar("T")


def guarded(function: Callable[..., T], *arguments: object) -> T:
    """Call a function in a thread; what a future cannot carry, or the loop would end by, becomes an error.

    Before Python 3.12 a future that is given StopIteration stays without a result for ever.
    """
    try:
        return function(*arguments)
    except StopIteration as error:
        raise ended_by(error) from error
    except Exception:
        raise
    except BaseException as error:
        raise ended_by(error) from error


def ended_by(error: BaseException) -> RuntimeError:
    """Return the error for a function that raised what ends a thread, a task or the process."""
    return RuntimeError(f"it raised {type(error).__name__}, which would end more than this call")
