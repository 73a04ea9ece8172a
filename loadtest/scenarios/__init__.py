"""The kinds of load, by the name on the command line; ``loadtest/mixed.py`` puts them together."""

from types import ModuleType

from loadtest.scenarios import broadcast, churn, connect, echo, fetch, idle, resume, slow_readers, watch

__all__ = ["SCENARIOS"]

SCENARIOS: dict[str, ModuleType] = {
    "connect": connect,
    "idle": idle,
    "echo": echo,
    "broadcast": broadcast,
    "fetch": fetch,
    "watch": watch,
    "resume": resume,
    "churn": churn,
    "slow-readers": slow_readers,
}
