"""The request with which a client connects: its path and headers, and what of them is its user's."""

from argparse import Namespace

from loadtest.endpoint import Endpoint, in_path
from loadtest.files import NOBODY, User
from loadtest.headers import Headers
from loadtest.position import Position
from loadtest.targets import Target

__all__ = ["request_of", "user_of"]


def user_of(options: Namespace, number: int) -> User:
    """Return who client ``number`` is: the users of the file in turn."""
    users: list[User] = options.user_rows
    return users[number % len(users)] if users else NOBODY


def request_of(
    options: Namespace, target: Target, user: User, topic: str, since: Position | None
) -> tuple[str, Headers]:
    """Return the path and the headers with which a client of a topic connects, or comes back."""
    endpoint: Endpoint = target.endpoint
    ours: Headers = (("Sec-WebSocket-Protocol", target.PROTOCOL),) if target.PROTOCOL else ()
    if endpoint.compress:
        ours += (("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover"),)
    if since is not None:
        ours += target.headers(since)
    own = tuple((name, value) for name, value in user["headers"])
    headers = (*_without(endpoint.headers, own), *own)
    path = in_path(user["path"] or options.path or target.PATH, topic, user["token"] or options.token)
    return endpoint.request_target(path), (*_without(ours, headers), *headers)


def _without(headers: Headers, others: Headers) -> Headers:
    """Return the headers whose names the others do not have."""
    names = {name.lower() for name, _ in others}
    return tuple((name, value) for name, value in headers if name.lower() not in names)
