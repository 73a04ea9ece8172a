"""robots.txt (RFC 9309): which paths of a host a crawler may ask for.

Our own and not Protego's, because a host writes what is matched against its URLs: patterns become regular
expressions there, and ``*a*a*a*a*b`` on a URL of 2,000 characters keeps those busy for minutes. Here a
pattern is matched in at most length times length steps, and a group has a bounded number of them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["ALL", "NONE", "Rules", "parse_robots"]

_RULES: Final = 2_000
"""Rules of one group that count; the RFC asks for 500 KiB to be read, which ours are."""
_STARS: Final = 10
"""Asterisks of one rule that count: what follows them is taken for anything. Two thousand such rules take 3 ms."""
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules for one crawler, the longest first, and of two equal ones that which allows."""

    rules: tuple[tuple[str, bool], ...]

    def allows(self, path: str) -> bool:
        """Return whether a path with its query may be asked for (section 2.2.2)."""
        path = _normal(path)
        if path == "/robots.txt":
            return True
        return next((allowed for pattern, allowed in self.rules if _matches(pattern, path)), True)


ALL: Final = Rules(())
NONE: Final = Rules((("/", False),))


def parse_robots(text: str, agent: str) -> Rules:
    """Return the rules of the groups for ``agent``, or of those for ``*`` where it has none."""
    rules: dict[str, list[tuple[str, bool]]] = {}
    agents: list[str] = []
    in_rules = True
    for name, value in _fields(text):
        if name == "user-agent":
            if in_rules:
                agents, in_rules = [], False
            # Of all others there may be thousands, each with thousands of rules.
            if value.lower() in (agent, "*") and value.lower() not in agents:
                agents.append(value.lower())
                rules.setdefault(value.lower(), [])
        elif name in ("allow", "disallow"):
            in_rules = True
            for named in agents if value else ():
                if len(rules[named]) < _RULES:
                    rules[named].append((_normal(_bounded(value)), name == "allow"))
    chosen = rules.get(agent, rules.get("*", []))
    return Rules(tuple(sorted(chosen, key=lambda rule: (-len(rule[0]), not rule[1]))))


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, colon, value = line.partition("#")[0].partition(":")
        if colon:
            yield name.strip().lower(), value.strip()


def _bounded(pattern: str) -> str:
    parts = pattern.split("*", _STARS)
    return pattern if "*" not in parts[-1] else "*".join(parts[:_STARS]) + "*"


def _normal(path: str) -> str:
    """Write the same path always the same (section 2.2.2): what needs no escape has none."""
    path = "".join(sign if sign < "\x80" else "".join(f"%{byte:02X}" for byte in sign.encode("utf-8", "replace"))
                   for sign in path)  # fmt: skip
    return _ESCAPE.sub(_unescaped, path)


def _unescaped(escape: re.Match[str]) -> str:
    sign = chr(int(escape[1], 16))
    return sign if sign in _UNRESERVED else escape[0].upper()


def _matches(pattern: str, path: str) -> bool:
    """Match from the beginning; ``*`` stands for anything, and ``$`` at the end for the end."""
    anchored = pattern.endswith("$")
    parts = (pattern[:-1] if anchored else pattern).split("*")
    if not path.startswith(parts[0]):
        return False
    at = len(parts[0])
    for part in parts[1:-1]:
        found = path.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    if len(parts) == 1:
        return not anchored or at == len(path)
    if anchored:
        return path.endswith(parts[-1]) and len(path) - len(parts[-1]) >= at
    return path.find(parts[-1], at) >= 0
