"""Fetch URLs through sluice and print each event of the batch, through cuts of the connection.

PYTHONPATH=. .venv/bin/python examples/client.py http://127.0.0.1:8080 https://example.com/
"""

import asyncio
import sys

from service.client import Client, Done, Failed, Result


async def main(url: str, urls: list[str]) -> None:
    """Print each event of the batch until it is done."""
    async with Client(url) as client:
        async for event in client.fetch(urls):
            match event:
                case Result():
                    print("result", event.url, event.status)
                case Failed():
                    print("failed", event.url, event.error)
                case Done():
                    print("done", event.ok, "of", event.total)


asyncio.run(main(sys.argv[1], sys.argv[2:]))
