"""A client for Python programs, with asyncio. It needs aiohttp and orjson, and nothing of the service.

    async with Client("http://127.0.0.1:8080") as client:
        async for event in client.fetch(["https://example.com/"]):
            print(event)

See docs/clients.md.
"""

from service.client.backoff import Advice, Backoff
from service.client.client import Client
from service.client.errors import ClientClosed, ClientError, Disconnected, Reason, Refused, Unanswered
from service.client.stream import Value
from service.client.subscription import Batch, Event, Subscription
from service.client.values import Gap, Message, OnLag, Position, Restart, Since

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
    "Subscription",
    "Unanswered",
    "Value",
]
