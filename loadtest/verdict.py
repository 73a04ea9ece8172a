"""How a run came out: one status, which the exit code, the report, the page and the terminal all have from here."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["COULD_NOT_RUN", "FAILED", "INTERRUPTED", "NOT_ENDED", "PASSED", "Status", "Verdict"]


class Status(StrEnum):
    """The four ways for a run to end, from the best to the worst."""

    PASSED = "passed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    COULD_NOT_RUN = "could not run"


PASSED, FAILED, INTERRUPTED, COULD_NOT_RUN = Status
_EXIT_CODES = {PASSED: 0, COULD_NOT_RUN: 1, INTERRUPTED: 1, FAILED: 99}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A status and the reasons for it."""

    status: Status
    reasons: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all is well."""
        return self.status is PASSED

    @property
    def exit_code(self) -> int:
        """What the program ends with."""
        return _EXIT_CODES[self.status]

    @property
    def text(self) -> str:
        """The status with its first reasons, in one line."""
        if not self.reasons:
            return str(self.status)
        more = len(self.reasons) - 3
        return f"{self.status}: {'; '.join(self.reasons[:3])}" + (f"; and {more} more" if more > 0 else "")


NOT_ENDED = Verdict(COULD_NOT_RUN, ("it did not end",))
"""What a report has before anybody has judged it."""
