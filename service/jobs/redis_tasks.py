"""What a worker does with tasks from a Redis that goes away: it forgets them, and the service offers them again.

kombu 5.7 touches such tasks over the channel that it has lost, and ends the worker for good: where it gives them
back as the channel closes (celery#10205), and where a function returns later and its task is acknowledged.
"""

from kombu.transport.redis import Channel, QoS

__all__ = ["forget_tasks_of_lost_channels"]


class _Forgetful(QoS):
    """Leaves tasks of a closed channel to the broker, which gives them out again; a claim refuses them then."""

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a task, if its channel is open."""
        if self.channel.connection is not None:
            super().ack(delivery_tag)  # type: ignore[no-untyped-call]

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give a task back, if its channel is open."""
        if self.channel.connection is not None:
            super().reject(delivery_tag, requeue)  # type: ignore[no-untyped-call]


def forget_tasks_of_lost_channels() -> None:
    """Have every channel to a Redis of this process do so."""
    Channel.do_restore = False
    Channel.QoS = _Forgetful
