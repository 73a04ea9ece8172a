"""Fetch URLs through sluice and print each event of the batch; cuts and restarts of the service are bridged."""

import asyncio
import sys

from service.client import Client


async def main(url: str, urls: list[str]) -> None:
    """Print each event of the batch until it is done."""
    async with Client(url) as client:
        async for event in client.fetch(urls):
            print(event["event"], event.get("url", ""), event.get("status") or event.get("error") or "")


asyncio.run(main(sys.argv[1], sys.argv[2:]))
