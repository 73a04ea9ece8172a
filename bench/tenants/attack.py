"""One attack: ``python -m bench.tenants.attack NAME PORT NEAR FAR SECONDS``, the client's token in TOKEN.

It does one thing for SECONDS seconds, as much of it as it can, and prints the answers by number. ``NEAR`` and
``FAR`` are the ports of the upstreams that both ask, and of its own.
"""

import asyncio
import json
import os
import sys
from contextlib import suppress

import aiohttp

from bench.tenants.attacker import Attacker
from bench.tenants.attacks import ATTACKS

_ADDRESS = "198.51.100.7"
_PAUSE = 0.2
"""Seconds before something that was cut is begun anew."""


async def _main(name: str, port: int, near: int, far: int, seconds: float) -> None:
    headers = {"Authorization": f"Bearer {os.environ['TOKEN']}", "X-Forwarded-For": _ADDRESS}
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, connector=connector, timeout=timeout) as session:
        attacker = Attacker(port, near, far, session)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        attacking = asyncio.create_task(attacker.steadily(lambda _: ATTACKS[name](attacker), _PAUSE))
        await asyncio.wait([attacking], timeout=seconds)
        if attacking.done():
            attacking.result()  # raises: it ends by itself only for a bug
        attacking.cancel()
        await asyncio.gather(attacking, return_exceptions=True)
        print(json.dumps({"answered": attacker.reported, "serials": sorted(attacker.serials)}), flush=True)
        with suppress(aiohttp.ClientError, OSError):  # the other service is ended at once
            await attacker.end()


if __name__ == "__main__":
    name, port, near, far, seconds = sys.argv[1:]
    asyncio.run(_main(name, int(port), int(near), int(far), float(seconds)))
