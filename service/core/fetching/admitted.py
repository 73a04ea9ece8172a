"""URLs on the clock: from their admission until their outcome is delivered."""

from service.core.fetching.task import ENDED, FetchGroup, FetchTask

__all__ = ["AdmittedTasks"]


class AdmittedTasks:
    """All URLs on the clock, by group and in the order of their deadlines: one group has one time-out."""

    def __init__(self) -> None:
        self._groups: dict[str, dict[int, FetchTask]] = {}

    def __repr__(self) -> str:
        return f"<AdmittedTasks {sum(map(len, self._groups.values()))} of {len(self._groups)} groups>"

    def __bool__(self) -> bool:
        return bool(self._groups)

    def begin(self, task: FetchTask) -> None:
        """Put a URL on the clock."""
        tasks = self._groups.get(task.group.id)
        if tasks is None:
            tasks = self._groups[task.group.id] = {}
        tasks[task.index] = task

    def end(self, group: FetchGroup, index: int) -> None:
        """Take a URL off the clock: its outcome is delivered."""
        tasks = self._groups.get(group.id)
        if tasks is not None and (task := tasks.pop(index, None)) is not None:
            if not tasks:
                del self._groups[group.id]
            task.move(ENDED)

    def of(self, group: FetchGroup) -> tuple[FetchTask, ...]:
        """Return the URLs of a group that are on the clock."""
        return tuple(self._groups.get(group.id, {}).values())

    def forget(self, group: FetchGroup) -> None:
        """Take all URLs of a group off the clock: nobody wants them any more."""
        for task in self._groups.pop(group.id, {}).values():
            task.move(ENDED)

    def overdue(self, by: float) -> list[FetchTask]:
        """Return those whose deadline was then or earlier."""
        late = []
        for tasks in self._groups.values():
            for task in tasks.values():
                if task.deadline > by:
                    break
                late.append(task)
        return late
