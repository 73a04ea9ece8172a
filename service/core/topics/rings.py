"""The memory of all rings: whose messages it holds, and which are dropped when it is used up.

A ring counts for the client that has filled most of it: the majority vote of Boyer and Moore, weighed by bytes,
which needs one number for each ring. A client that has used up its share of the memory loses messages of its own
topics, beginning with the topic longest without a publish, until each has its newest message alone; after that its
publishes are refused. Others do not notice. A client that has less than an equal share finds room in any case: then
the clients that hold most lose messages in the same way.
"""

from collections import OrderedDict
from heapq import heapify, heappop, heappush
from typing import Final

from service.core.errors import Overloaded
from service.core.owner import Owner
from service.core.pool import FOUR_FIFTHS, Pool, alone
from service.core.topics.topic import Topic

__all__ = ["Rings"]

_SLACK: Final = 64
"""What the largest give up at once, this part of the bound: to find them costs as much as there are owners."""


class Rings:
    """How many bytes the rings of each owner have, and which of them can be shrunk."""

    def __init__(self, bound: int) -> None:
        self.pool = Pool(
            "rings_size", bound, eager=FOUR_FIFTHS, error=Overloaded, advice="its newest messages alone fill that"
        )
        self.shrunk = 0
        self._calm = alone(bound, FOUR_FIFTHS)
        # Rings with more than their newest message, the longest unpublished first.
        self._shrinkable: dict[Owner, OrderedDict[Topic, None]] = {}

    def __repr__(self) -> str:
        return f"<Rings {self.pool!r}>"

    def pay(self, topic: Topic, owner: Owner, size: int) -> None:
        """Count so many bytes that an owner publishes; a ring counts for the one that has filled most of it."""
        # What has left the ring no longer counts for the one that published it.
        majority = min(topic.majority, topic.ring.size)
        if topic.payer == owner:
            majority += size
        elif (majority := majority - size) < 0:
            self._move(topic, owner)
            majority = size
        topic.majority = majority

    def make_room(self, topic: Topic | None, owner: Owner, size: int) -> None:
        """Have ``size`` more bytes of an owner's fit into its share; raise Overloaded if they cannot.

        A ring counts for its publisher, too, once the client that pays for it has no room for more.
        """
        pool = self.pool
        if pool.used + size <= self._calm and owner.weight >= 1:
            return
        if topic is not None and topic.ring.size and topic.payer != owner and not pool.fits(topic.payer, size):
            self._move(topic, owner)
        while not pool.fits(owner, size):
            if pool.held(owner) + size <= pool.share(owner):
                self._shrink_largest(size)
                return
            if self._shrink(owner):
                pool.refused += 1
                continue
            if topic is None or not topic.ring.size or topic.payer != owner:
                raise pool.refusal(owner)
            # The message that it replaces goes with the next publish.
            break
        if pool.used + size > pool.bound:
            self._shrink_largest(size)

    def grown(self, topic: Topic, size: int) -> None:
        """Record a message that was appended: the ring has so many bytes more, or fewer."""
        owner = topic.payer
        if size:
            self._count(owner, size)
        if topic.ring.head > topic.ring.first:
            own = self._shrinkable.get(owner)
            if own is None:
                own = self._shrinkable[owner] = OrderedDict()
            own[topic] = None
            own.move_to_end(topic)

    def fit(self) -> None:
        """Have rings give way that were read from the store, where all are larger than their bound."""
        if self.pool.used > self.pool.bound:
            self._shrink_largest(self.pool.used - self.pool.bound)

    def freed(self, topic: Topic, size: int) -> None:
        """Record messages that are gone."""
        self.pool.release(topic.payer, size)
        if topic.ring.head <= topic.ring.first:
            self._whole(topic)

    def dropped(self, topic: Topic) -> None:
        """Record a ring that is gone."""
        self.pool.release(topic.payer, topic.ring.size)
        self._whole(topic)

    def _move(self, topic: Topic, owner: Owner) -> None:
        """Have a ring count for another owner."""
        self.dropped(topic)
        topic.payer = owner
        self.grown(topic, topic.ring.size)

    def _count(self, owner: Owner, size: int) -> None:
        if size > 0:
            self.pool.charge(owner, size)
        else:
            self.pool.release(owner, -size)

    def _whole(self, topic: Topic) -> None:
        """Take out a ring that has nothing to give up."""
        own = self._shrinkable.get(topic.payer)
        if own is not None and topic in own:
            del own[topic]
            if not own:
                del self._shrinkable[topic.payer]

    def _shrink(self, owner: Owner) -> bool:
        """Have an owner's ring that was longest without a publish keep its newest alone, if there is one."""
        own = self._shrinkable.get(owner)
        if not own:
            return False
        topic = next(iter(own))
        self._whole(topic)
        self.pool.release(owner, topic.ring.shrink())
        self.shrunk += 1
        return True

    def _shrink_largest(self, size: int) -> None:
        """Free so much and some more, of the owners that hold most; none below an equal share gives way."""
        pool = self.pool
        until = pool.used - size - pool.bound // _SLACK
        holders = [(-pool.held(owner), number, owner) for number, owner in enumerate(self._shrinkable)]
        heapify(holders)
        while holders and pool.used > until:
            _, number, owner = heappop(holders)
            if pool.held(owner) <= pool.share(owner):
                return
            pool.refused += 1
            if self._shrink(owner):
                heappush(holders, (-pool.held(owner), number, owner))
