"""robots.txt (RFC 9309): which paths of a host a crawler may ask for.

Our own and not Protego's, because a host writes what is matched against its URLs: patterns become regular
expressions there, and ``*a*a*a*a*b`` on a URL of 2,000 characters keeps those busy for minutes. Here every rule
of a file counts, and matching is linear in it: plain rules are looked up by their length, and a pattern with
``*`` is searched part by part, from left to right.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

__all__ = ["ALL", "NONE", "Rules", "parse_robots"]

_LINE: Final = re.compile(r"\r\n|\r|\n")
_PRODUCT: Final = re.compile(r"\*|[A-Za-z_-]+")
_BEYOND: Final = re.compile(r"[^\x00-\x7f]+")
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
# Beside what is unreserved, what means the same encoded or not wherever it stands (section 2.2.2).
_SAME: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:@!'(),;[]")
_SAME_IN_QUERY: Final = _SAME | {"/"}
_MOST_SEARCHED: Final = 64 << 20
"""Characters that patterns are searched in for one path, about 0.2 s: what is undecided then is not allowed.

A file of 20,000 patterns decides on paths of 3,000 characters.
"""
_RULE_SIZE: Final = 200
"""Bytes that a rule takes beside its text, about."""


@dataclass(frozen=True)
class Rules:
    """The rules for one crawler; of those that match the longest counts, of two equal ones the one that allows."""

    plain: dict[str, bool]
    """Beginnings of paths, and whether they are allowed."""
    patterns: tuple[tuple[str, bool], ...] = ()
    """Those with ``*`` or an end, the longest first."""

    def allows(self, path: str) -> bool:
        """Return whether a path with its query may be asked for (section 2.2.2)."""
        path = _normal(path).replace("*", "%2A").replace("$", "%24")
        if path == "/robots.txt":
            return True
        length, allowed = self._longest(path)
        most = _MOST_SEARCHED // (len(path) + 1)
        for number, (pattern, allows) in enumerate(self.patterns):
            if (len(pattern), allows) <= (length, allowed):
                break
            if number == most:
                return False
            if _matches(pattern, path):
                return allows
        return allowed

    def cost(self, path: str) -> int:
        """Return in characters how much :meth:`allows` may have to look at."""
        return len(self.patterns) * len(path) + self.size

    @cached_property
    def size(self) -> int:
        """The bytes that they take, about."""
        return sum(len(text) + _RULE_SIZE for text in self.plain) + sum(
            len(text) + _RULE_SIZE for text, _ in self.patterns
        )

    @cached_property
    def _lengths(self) -> list[int]:
        # However many rules, their lengths add up to the file: a thousand different ones are half a megabyte.
        return sorted({len(text) for text in self.plain}, reverse=True)

    def _longest(self, path: str) -> tuple[int, bool]:
        for length in self._lengths:
            if length <= len(path) and (allowed := self.plain.get(path[:length])) is not None:
                return length, allowed
        return 0, True


ALL: Final = Rules({})
NONE: Final = Rules({"/": False})


def parse_robots(text: str, agent: str) -> Rules:
    """Return the rules of the groups for ``agent``, or of those for ``*`` where it has none.

    A group is ours by the product token alone: ``Sluice/1.0 (beta)`` is ``sluice``.
    """
    rules: dict[str, list[tuple[str, bool]]] = {}
    agents: set[str] = set()
    in_rules = True
    for name, value in _fields(text):
        if name == "user-agent":
            if in_rules:
                agents, in_rules = set(), False
            product = _PRODUCT.match(value)
            # Of all others there may be thousands, each with thousands of rules.
            if product and product[0].lower() in (agent, "*"):
                agents.add(product[0].lower())
                rules.setdefault(product[0].lower(), [])
        elif name in ("allow", "disallow"):
            in_rules = True
            for named in agents if value else ():
                rules[named].append((_pattern(value), name == "allow"))
    return _sorted(rules.get(agent, rules.get("*", [])))


def _sorted(rules: list[tuple[str, bool]]) -> Rules:
    plain: dict[str, bool] = {}
    patterns: dict[str, bool] = {}
    for text, allowed in rules:
        kind = patterns if "*" in text or text.endswith("$") else plain
        kind[text] = allowed or kind.get(text, False)
    ordered = sorted(patterns.items(), key=lambda rule: (len(rule[0]), rule[1]), reverse=True)
    return Rules(plain, tuple(ordered))


def _fields(text: str) -> Iterator[tuple[str, str]]:
    for line in _LINE.split(text.removeprefix("\ufeff")):
        name, colon, value = line.partition("#")[0].partition(":")
        if colon:
            yield name.strip().lower(), value.strip()


def _pattern(value: str) -> str:
    """Return a rule as it is matched: a ``$`` that is not at its end is one."""
    text = _normal(value)
    return text[:-1].replace("$", "%24") + text[-1]


def _normal(path: str) -> str:
    """Write the same path always the same (section 2.2.2): what needs no escape has none."""
    if not path.isascii():
        path = _BEYOND.sub(_escaped, path)
    if "%" not in path:
        return path
    path, mark, query = path.partition("?")
    return _ESCAPE.sub(_unescaped, path) + mark + _ESCAPE.sub(_unescaped_in_query, query)


def _escaped(found: re.Match[str]) -> str:
    return "%" + found[0].encode("utf-8", "surrogateescape").hex("%").upper()


def _unescaped(escape: re.Match[str]) -> str:
    sign = chr(int(escape[1], 16))
    return sign if sign in _SAME else escape[0].upper()


def _unescaped_in_query(escape: re.Match[str]) -> str:
    sign = chr(int(escape[1], 16))
    return sign if sign in _SAME_IN_QUERY else escape[0].upper()


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
