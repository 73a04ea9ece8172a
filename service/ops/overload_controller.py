"""Acts on overload, once a second: measures, asks the core for the level, and does what the level is for."""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from service.core.overload import SLOWED, Level, LoadSample, Overload
from service.ops.process import descriptors, memory, sockets
from service.runtime.containment import contain
from service.upstream.runner import Runner

__all__ = ["OverloadController", "Sheddable"]

_log = logging.getLogger("sluice.overload")


class Sheddable(Protocol):
    """What has readers that lag."""

    def shed(self) -> int:
        """Cut the heaviest of them; return how many."""
        ...


class OverloadController:
    """The steps of overload: fetches are slowed here and readers shed; admission refuses by itself."""

    def __init__(
        self,
        overload: Overload,
        runner: Runner,
        crowds: Sequence[Sheddable],
        close_unused: Callable[[], int],
        memory_limit: int = 0,
    ) -> None:
        self._memory = memory_limit
        self.level = Level.NORMAL
        """What is done about it now."""
        self.shed = 0
        """How many readers were cut since the start."""
        self._overload = overload
        self._runner = runner
        self._crowds = crowds
        self._close_unused = close_unused

    def __repr__(self) -> str:
        return f"<OverloadController {self._overload!r}>"

    def sample(self, lag: float, now: float) -> None:
        """Measure and act; ``lag`` is how late the loop was."""
        kernel = sockets()
        figures = LoadSample(lag, memory=memory(self._memory), sockets=kernel, descriptors=descriptors())
        level = self._overload.update(figures, now)
        if level is not self.level:
            self._change(level)
        if level >= Level.REFUSE:
            contain("unused connections could not be closed", self._close_unused)
        if level >= Level.SHED:
            for crowd in self._crowds:
                contain("readers could not be shed", self._shed, crowd)

    def _shed(self, crowd: Sheddable) -> None:
        self.shed += crowd.shed()

    def _change(self, level: Level) -> None:
        if level > self.level:
            _log.warning("overload: entered", extra={"overload": level.name.lower(), "why": self._overload.why})
        else:
            _log.warning(
                "overload: left", extra={"overload": level.name.lower(), "before": self.level.name.lower()}
            )
        self.level = level
        self._runner.slow(SLOWED if level >= Level.SLOW else 1.0)
