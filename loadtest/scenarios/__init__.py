"""The scenarios, by name; a new one is a module here and a line below."""

from types import ModuleType

from loadtest.scenarios import broadcast, connect, fetch

__all__ = ["SCENARIOS"]

SCENARIOS: dict[str, ModuleType] = {"connect": connect, "broadcast": broadcast, "fetch": fetch}
