"""Fetch URLs through sluice and follow the batch over a WebSocket; resume where a cut left off."""

import asyncio
import json
import sys

import aiohttp


async def main(url: str, urls: list[str]) -> None:
    """Print each event of the batch until it is done."""
    since, batch = None, None
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.ws_connect(url, protocols=["sluice.v1"]) as socket:
                if batch is None:
                    call = {"method": "fetch", "params": {"urls": urls}}
                else:
                    call = {"method": "subscribe", "params": {"topic": batch["topic"], "since": since}}
                await socket.send_json({"jsonrpc": "2.0", "id": 1, **call})
                async for message in socket:
                    value = json.loads(message.data)
                    if "error" in value:
                        sys.exit(value["error"]["message"])
                    if "result" in value:
                        batch = batch or value["result"]
                    elif value["method"] == "message":
                        event = value["params"]["data"]
                        since = {"epoch": batch["epoch"], "offset": value["params"]["offset"]}
                        print(event["event"], event.get("url", ""), event.get("status") or event.get("error") or "")
                        if event["event"] == "done":
                            return
            await asyncio.sleep(1)


asyncio.run(main(sys.argv[1], sys.argv[2:]))
