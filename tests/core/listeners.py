"""A listener that admits every URL, and remembers the outcomes."""

from service.core.fetching.outcome import Failure, Fetched, Permit
from service.core.fetching.task import FetchGroup, FetchTask


class FakeListener:
    def __init__(self, permit: Permit | Failure = Permit.START) -> None:
        self.permit = permit
        self.outcomes: dict[int, Fetched | Failure] = {}

    def admit(self, group: FetchGroup) -> Permit | Failure:
        return self.permit

    def succeeded(
        self, group: FetchGroup, task: FetchTask, fetched: Fetched, queued: float, *, shared: bool
    ) -> None:
        self.outcomes.setdefault(task.index, fetched)

    def failed(
        self, group: FetchGroup, index: int, failure: Failure, attempts: int, timing: dict[str, float]
    ) -> None:
        self.outcomes.setdefault(index, failure)
