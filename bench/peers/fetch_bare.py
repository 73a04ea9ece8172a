"""10,000 URLs with aiohttp alone, as one would write it by hand: 100 workers, or one gather of all."""

import asyncio
import sys
import time

import aiohttp
import uvloop


async def main(kind: str, port: int, count: int) -> None:
    urls = [f"http://127.0.0.1:{port}/u{number}" for number in range(count)]
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=100 if kind == "gather" else 0), cookie_jar=aiohttp.DummyCookieJar()
    ) as session:

        async def fetch(url: str) -> int:
            async with session.get(url) as response:
                return len(await response.text())

        async def worker() -> int:
            return sum([await fetch(url) for url in left])

        left = iter(urls)
        begin = time.monotonic()
        sizes = await asyncio.gather(*map(fetch, urls) if kind == "gather" else (worker() for _ in range(100)))
        seconds = time.monotonic() - begin
    if sum(sizes) != 1024 * count:
        raise RuntimeError(f"{sum(sizes)} bytes of {1024 * count}")
    print(seconds, flush=True)


uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
