"""A client for Python programs, with asyncio. It needs aiohttp and orjson, and nothing of the service.

    async with Client("http://127.0.0.1:8080") as client:
        async for event in client.fetch(["https://example.com/"]):
            print(event)

See docs/clients.md.
"""

from .backoff import Advice, Backoff
from .client import Client
from .credentials import Token
from .errors import ClientClosed, ClientError, Disconnected, Reason, Refused, Unanswered
from .stream import Value
from .subscription import Batch, Event, Subscription
from .values import Gap, Message, OnLag, Position, Restart, Since, State

__all__ = [
    "Advice",
    "Backoff",
    "Batch",
    "Client",
    "ClientClosed",
    "ClientError",
    "Disconnected",
    "Event",
    "Gap",
    "Message",
    "OnLag",
    "Position",
    "Reason",
    "Refused",
    "Restart",
    "Since",
    "State",
    "Subscription",
    "Token",
    "Unanswered",
    "Value",
]
