"""nginx with the module Nchan: publishers POST, subscribers have a WebSocket for each channel."""

from loadtest.targets.posting import Posting

__all__ = ["Nchan"]


class Nchan(Posting):
    """Channels at ``/sub?id=TOPIC`` and ``/pub?id=TOPIC``, as in Nchan's own examples."""

    HELP = "nginx with Nchan: subscribers at /sub?id=TOPIC, publishers at /pub?id=TOPIC"
    PATH = "/sub?id={topic}"
    PUBLISH_PATH = "/pub?id={topic}"
