"""What happened to the URLs of a run: counts by status and by kind of failure, the exit code, and the summary."""

import re
from collections import Counter
from collections.abc import Collection
from http import HTTPStatus
from typing import Final, get_args

from service.core.fetching.outcome import FailureKind

__all__ = ["DEFAULT_FAIL_ON", "Tally", "fail_conditions", "shown"]

DEFAULT_FAIL_ON: Final = "failed,4xx,5xx"
_CONDITION: Final = re.compile(r"[1-5](?:xx|[0-9]{2})")
_KINDS: Final = frozenset(get_args(FailureKind))
_EXAMPLES: Final = 3


def fail_conditions(text: str) -> frozenset[str]:
    """Return what makes the exit code 1. Raises ValueError that says what is possible."""
    found: set[str] = set()
    for word in filter(None, (part.strip().lower() for part in text.split(","))):
        if word == "any":
            found.update(("failed", "4xx", "5xx"))
        elif word in _KINDS or word == "failed" or _CONDITION.fullmatch(word):
            found.add(word)
        elif word != "none":
            raise ValueError(
                f"--fail-on: {word!r} is not one of none, any, failed, a status (404), a class of them (5xx), "
                f"or a kind of failure ({', '.join(sorted(_KINDS))})"
            )
    return frozenset(found)


class Tally:
    """Counts of one run. Everything is counted by URL of the list, copies included; ``bytes`` came over the net."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.skipped = 0
        self.bytes = 0
        self.statuses: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()
        self._examples: dict[int | str, list[str]] = {}
        self.answered = 0
        self.failed = 0
        self.refused = 0
        """Answers of 400 and more."""

    @property
    def done(self) -> int:
        """How many URLs have their end."""
        return self.answered + self.failed + self.skipped

    def answer(self, status: int, url: str) -> None:
        """Count an answer; ``url`` with where it stands."""
        self.answered += 1
        self.refused += status >= 400
        self.statuses[status] += 1
        if status >= 400:
            self._example(status, url)

    def failure(self, kind: FailureKind, url: str, detail: str) -> None:
        """Count a failure."""
        self.failed += 1
        self.failures[kind] += 1
        self._example(kind, f"{url}: {detail}")

    def _example(self, key: int | str, text: str) -> None:
        examples = self._examples.setdefault(key, [])
        if len(examples) < _EXAMPLES:
            examples.append(text)

    def meets(self, conditions: Collection[str]) -> bool:
        """Return whether something happened that makes the exit code 1."""
        if "failed" in conditions and self.failed:
            return True
        words = {f"{status // 100}xx" for status in self.statuses} | set(map(str, self.statuses))
        return not words.union(self.failures).isdisjoint(conditions)

    def counts(self) -> dict[str, object]:
        """Return the numbers of the last line."""
        return {
            "total": self.total,
            "ok": self.answered,
            "failed": self.failed,
            "skipped": self.skipped,
            "errors_4xx": sum(count for status, count in self.statuses.items() if 400 <= status < 500),
            "errors_5xx": sum(count for status, count in self.statuses.items() if status >= 500),
            "by_status": {str(status): count for status, count in sorted(self.statuses.items())},
            "by_error": dict(sorted(self.failures.items())),
        }

    def table(self, width: int | None) -> list[str]:
        """Return the lines of the summary, cut to ``width`` columns where one is given."""
        lines: list[str] = []
        for status, count in sorted(self.statuses.items()):
            lines += [f"{count:>11,}  {status} {_phrase(status)}".rstrip(), *self._shown_examples(status)]
        for kind, count in self.failures.most_common():
            lines += [f"{count:>11,}  {kind}", *self._shown_examples(kind)]
        return [line if width is None or len(line) <= width else line[: width - 1] + "…" for line in lines]

    def _shown_examples(self, key: int | str) -> list[str]:
        return [f"{'':>13}{shown(text)}" for text in self._examples.get(key, ())]


def shown(text: str) -> str:
    """Return a text without what a terminal would obey."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:  # not a registered one
        return ""
