"""What the core needs from outside: a clock, a store of topics, the rest of the service, a client's connection."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self

from service.core.access.grants import Grant, HostPatterns
from service.core.fetching.batch import BatchRequest
from service.core.jobs.request import JobRequest
from service.core.owner import Owner
from service.core.pending import Pending
from service.core.pieces import Pieces
from service.core.pool import Pool
from service.core.topics.history import ReadLog
from service.core.topics.topic import OnLag, Position, Reader, Since, Topic

__all__ = [
    "Backend",
    "Clock",
    "KeptKey",
    "KeptTopic",
    "KeptWatch",
    "Peer",
    "PublishKey",
    "Refusals",
    "StartedBatch",
    "Steps",
    "TopicStore",
    "UrlOutcome",
    "WatchInterest",
    "WatchStore",
]


Refusals = Counter[tuple[str, str]]
"""How many were refused, by where (``handshake``, ``http``, ``request``) and the error's reason."""


Steps = list[dict[str, object]] | None
"""A list of steps as clients write it, if they have one."""


class Clock(Protocol):
    """The time in seconds, as a float, from any beginning: differences are what counts.

    It never goes back, goes on while a callback runs, and passes as the loop's timers have it.
    """

    def __call__(self) -> float:
        """Return the time."""
        ...


class PublishKey(NamedTuple):
    """What makes the repetition of a publish harmless: a key, which belongs to an owner."""

    owner: Owner
    key: str


class UrlOutcome(NamedTuple):
    """Which URL of a batch an event ends, and with which status: 0 where it failed."""

    item: int
    """Its index; -1 where it is the last event of the batch, -2 where nobody knows any more."""
    status: int


class KeptKey(NamedTuple):
    """A key that is not forgotten yet, the offset of its message, and the hub's time of the append."""

    key: PublishKey
    offset: int
    at: float


@dataclass(frozen=True, slots=True)
class KeptTopic:
    """What a store has of a topic. ``position`` is that of the newest message, which is the last of ``messages``.

    Messages and keys come in the order in which they were appended, and no offset is left out.
    """

    position: Position
    messages: Sequence[bytes | None] = ()
    """Compact JSON; None where the record is damaged: its readers get a gap."""
    times: Sequence[float] = ()
    """When each message was appended, by the hub's clock."""
    keys: Sequence[KeptKey] = ()
    read: ReadLog | None = None
    """Of a log that the store keeps: reads what is not in memory. Its messages are not among ``messages``."""


class TopicStore(Protocol):
    """Where topics are kept, and who gives out positions.

    The hub asks and never waits. An answer is a value where it is known at once, else a ``Pending`` that the store
    settles later, once, on the loop's thread and from outside of any call of the hub. Answers about one topic come
    in the order of the calls; those of different topics may overtake each other. A store reads the topics that it
    is given (``name``, ``epoch``, ``limits``, ``first``, ``head``) and changes none of them: the hub puts a message
    into the ring when its append is answered, and only then do readers and publisher hear of it.

    What is refused is settled with a SluiceError, ``StorageFailed`` or ``Overloaded``, and is certainly not stored.
    Appends to a log (``topic.limits is None``) are not refused for lack of room or for an error that may pass: they
    stay pending until they are stored, or until the topic is dropped. A log never changes its epoch. Times are the
    hub's clock. Retention is the ring's: what is below ``topic.first`` is to be forgotten, some time later.
    """

    pools: Sequence[Pool]
    """What owners share of it, for figures."""

    def durable(self, name: str) -> bool:
        """Return whether what is appended to a topic of this name outlives the process."""
        ...

    def knows(self, name: str) -> bool:
        """Return whether something is kept of a topic, its position at least."""
        ...

    def history(self, name: str, owner: Owner) -> KeptTopic | Pending[KeptTopic]:
        """Begin a topic, or go on with it: return its epoch, made for a new one, and all that is kept of it.

        The hub calls this before the first append, and again only after it has retired or dropped the topic. For a
        name that the service alone writes the answer must be there at once.
        """
        ...

    def append(
        self, topic: Topic, data: bytes | Pieces, now: float, note: PublishKey | UrlOutcome | None
    ) -> Position | Pending[Position]:
        """Keep one message of compact JSON, with its key where it has one, or its outcome; return its position.

        A large message may come in pieces: ``bytes`` joins them.

        An answer that is there at once is the next position of the topic. A pending one usually is that. Another
        epoch says that the topic has begun anew: its readers are sent away to start over. An offset that the topic
        has had says that the message is there already; one further ahead, that those between are lost to this
        service: readers get a gap.
        """
        ...

    def append_all(
        self, topics: Sequence[Topic], data: bytes, now: float
    ) -> Sequence[Position] | Pending[Sequence[Position]]:
        """Keep one message in each of these topics or in none; return its positions in that order."""
        ...

    def retire(self, topic: Topic, now: float) -> None:
        """Record that the hub forgets a topic without readers or messages; it may ask for its history again."""
        ...

    def drop(self, topic: Topic) -> None:
        """Forget all of a topic; what is pending of it is settled all the same, in any way."""
        ...

    def expire(self, now: float) -> None:
        """Forget what has been kept long enough; called once a second, and quick."""
        ...


class KeptWatch(NamedTuple):
    """What the next poll of a watched URL starts from, beside the messages of its topic."""

    state: str
    """Which state the conditions belong to, as the watch identifies it."""
    conditions: Mapping[str, str]
    """The header fields with which the next poll asks whether there is another state."""


class WatchStore(Protocol):
    """What is kept of watches, by the names of their topics.

    A record that is put is stored no later than a message that is appended to a topic after it, as long as storage
    works. So a record may belong to a state that never became a message, and is of no use then.
    """

    def get(self, name: str) -> KeptWatch | None:
        """Return what was put last, or None."""
        ...

    def put(self, name: str, watch: KeptWatch) -> None:
        """Keep it in place of what was put before."""
        ...

    def delete(self, name: str) -> None:
        """Forget it."""
        ...


class StartedBatch(Protocol):
    """What the session needs of a batch."""

    id: str
    topic: Topic

    @property
    def accepted(self) -> Pending[Self] | None:
        """Its acceptance, where that has to wait for the store: until then it does not count as begun."""
        ...

    @property
    def total(self) -> int:
        """How many URLs it has."""
        ...


class WatchInterest(Protocol):
    """One client's interest in a watched URL."""

    topic: Topic
    since: Since
    """Where its reader starts: at the last known state."""

    def release(self) -> None:
        """End it; calling it again is harmless."""
        ...


class Backend(Protocol):
    """What a session asks of the rest of the service; each raises a SluiceError to refuse."""

    draining: bool
    refusals: Refusals

    def fetch(self, request: BatchRequest, owner: Owner, grant: Grant) -> StartedBatch:
        """Begin a batch for a client, within what it is granted."""
        ...

    def watch(
        self, url: str, every: float, select: str | None, hosts: HostPatterns, owner: Owner, steps: Steps
    ) -> WatchInterest:
        """Have a URL polled for a client, its owner, that may know of these hosts."""
        ...

    def cancel(self, batch_id: str) -> int | Pending[int]:
        """End a batch and return how many URLs had not finished."""
        ...

    def job(self, request: JobRequest, owner: Owner, grant: Grant) -> Pending[dict[str, object]]:
        """Accept a job of a client, within what it is granted; return what identifies it, and when it is due."""
        ...

    def cancel_job(self, job_id: str) -> Pending[dict[str, object]]:
        """Have a job never run, or stop; return whether it had not ended, and its state."""
        ...

    def authenticate(self, token: str) -> Grant:
        """Check new credentials; return what they grant."""
        ...


class Peer(Protocol):
    """The connection of one session, from which its client is reached. No method of it waits."""

    owner: Owner
    """Who owns what is held for it, by the credentials that it has shown last."""

    def belong_to(self, grant: Grant) -> None:
        """Take other credentials: what is held from now on is their owner's. Raises LimitReached."""
        ...

    def new_reader(self, topic: Topic, on_lag: OnLag) -> Reader:
        """Return a reader that writes to this connection."""
        ...

    def answer(self, text: bytes) -> None:
        """Send an answer that came late, before this returns and before any message that is written after it."""
        ...

    def hold(self) -> None:
        """Write no messages from now on, so that the answer to an array can precede them; readers stay attached."""
        ...

    def resume(self) -> None:
        """End a hold: bring every reader what it has not had."""
        ...

    def on_bug(self, error: BaseException) -> None:
        """Record an exception that no request should cause."""
        ...
