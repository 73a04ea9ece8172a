"""URLs on the clock: from their admission until their outcome is delivered."""

from service.core.fetching.task import FetchGroup, FetchTask

__all__ = ["Clocked"]


class Clocked:
    """All URLs on the clock, by batch and in the order of their deadlines: one batch has one time-out."""

    def __init__(self) -> None:
        self._batches: dict[str, dict[int, FetchTask]] = {}

    def __repr__(self) -> str:
        return f"<Clocked {sum(map(len, self._batches.values()))} of {len(self._batches)} batches>"

    def __bool__(self) -> bool:
        return bool(self._batches)

    def begin(self, work: FetchTask) -> None:
        """Take in a URL that is admitted."""
        works = self._batches.get(work.batch.id)
        if works is None:
            works = self._batches[work.batch.id] = {}
        works[work.index] = work

    def end(self, batch: FetchGroup, index: int) -> None:
        """Forget a URL that has its event."""
        works = self._batches.get(batch.id)
        if works is not None and works.pop(index, None) is not None and not works:
            del self._batches[batch.id]

    def forget(self, batch: FetchGroup) -> None:
        """Forget all URLs of a batch."""
        self._batches.pop(batch.id, None)

    def overdue(self, by: float) -> list[FetchTask]:
        """Return those whose deadline was then or earlier."""
        late = []
        for works in self._batches.values():
            for work in works.values():
                if work.deadline > by:
                    break
                late.append(work)
        return late
