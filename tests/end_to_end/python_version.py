"""One client in one version of Python: python python_version.py URL; reads a topic up to "last", and tells what it had."""

import asyncio
import sys

from service.client import Client, Message


async def main(url: str) -> None:
    async with Client(url) as client:
        await client.publish("t", "own")
        async for item in client.subscribe("t", since="oldest"):
            print(item.data if isinstance(item, Message) else type(item).__name__, flush=True)
            if isinstance(item, Message) and item.data == "last":
                break


asyncio.run(main(sys.argv[1]))
