"""What can go wrong between a request and the end of its answer."""

__all__ = ["ProtocolError", "ServerDisconnected", "UnwritableRequest"]


class ProtocolError(Exception):
    """What came is not HTTP, or does not hold what it says; the text is for the client that asked."""

    def again(self) -> "ProtocolError":
        """Return another one that says the same."""
        return ProtocolError(str(self))


class ServerDisconnected(Exception):
    """The connection ended before the head of an answer was complete."""

    def __init__(self, *, silent: bool, unsent: bool = False) -> None:
        super().__init__(
            "the connection ended before an answer" if silent else "the connection ended in the head of the answer"
        )
        self.silent = silent
        """Whether not one byte of an answer came."""
        self.unsent = unsent
        """Whether not one byte of the request was sent."""

    def again(self) -> "ServerDisconnected":
        """Return another one that says the same."""
        return ServerDisconnected(silent=self.silent, unsent=self.unsent)


class UnwritableRequest(Exception):
    """The request cannot be written as HTTP/1.1."""
