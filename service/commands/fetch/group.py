"""The URLs of a run, as the fetch engine knows them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from service.core.access.grants import EVERY_HOST, HostPatterns
from service.core.correlation import Trace
from service.core.fetching.batch import flavour_of
from service.core.fetching.request import FetchRequest, Options
from service.core.fetching.task import FetchListener
from service.core.owner import SERVICE, Owner

__all__ = ["Group"]


@dataclass(slots=True)
class Group:
    """All URLs of a run, as the engine knows them."""

    items: list[FetchRequest] | list[str]
    options: Options
    listener: "FetchListener[Group]"
    flavour: str = field(init=False)
    wanted: Sequence[int] = field(init=False)
    id: str = "fetch"
    owner: Owner = SERVICE
    hosts: HostPatterns = EVERY_HOST
    share: int | None = None
    active: int = 0
    under_way: int = 0
    landed: int = 0
    trace: Trace | None = None

    def __post_init__(self) -> None:
        self.flavour = flavour_of(self.options, self.hosts, self.owner)
        self.wanted = range(len(self.items))
