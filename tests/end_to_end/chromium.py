"""Headless Chromium, driven over the DevTools protocol."""

import asyncio
import base64
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import websockets

from tests.end_to_end.processes import PATIENCE, Process, program, start


class Page:
    """One page; what its console and its policies complain of is kept in ``complaints``, what it asked for in ``requests``."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self.socket = socket
        self.number = 0
        self.complaints: list[str] = []
        self.requests: list[str] = []

    async def send(self, method: str, **params: Any) -> Any:
        """Carry out a command of the protocol; return its result, or None where the page was still being loaded."""
        self.number += 1
        await self.socket.send(orjson.dumps({"id": self.number, "method": method, "params": params}).decode())
        while (answer := json.loads(await asyncio.wait_for(self.socket.recv(), 60))).get("id") != self.number:
            self._note(answer)
        return answer.get("result")

    def _note(self, reported: dict[str, Any]) -> None:
        if reported["method"] == "Runtime.exceptionThrown":
            self.complaints.append(str(reported["params"]["exceptionDetails"].get("exception", reported["params"])))
        elif reported["method"] == "Log.entryAdded" and reported["params"]["entry"]["level"] in (
            "error",
            "warning",
        ):
            self.complaints.append(reported["params"]["entry"]["text"])
        elif reported["method"] == "Network.requestWillBeSent":
            self.requests.append(reported["params"]["request"]["url"])

    async def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, awaited."""
        while True:
            result = await self.send(
                "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
            )
            if result is not None:
                assert "exceptionDetails" not in result, result
                return result["result"].get("value")

    async def until(self, expression: str, within: float = 30) -> Any:
        """Wait in the page until the expression is true; fail the test after ``within`` seconds."""
        look = (
            "new Promise(resolve => { const look = () => { let value; try { value = " + expression + " } catch {} "
            "value ? resolve(value) : setTimeout(look, 20) }; look() })"
        )
        try:
            async with asyncio.timeout(within):
                return await self.evaluate(look)
        except TimeoutError:
            pytest.fail(f"after {within:g} s this is still not true in the page: {expression}")

    async def text(self, selector: str) -> str:
        """Return the text of an element."""
        return str(await self.evaluate(f"document.querySelector({selector!r}).textContent"))

    async def fill(self, selector: str, value: str) -> None:
        """Put a value into a field, as its user would."""
        await self.evaluate(f"document.querySelector({selector!r}).focus()")
        await self.evaluate("document.activeElement.select?.()")
        await self.send("Input.insertText", text=value)

    async def press(self, key: str, *, code: int = 0, text: str = "") -> None:
        """Press a key."""
        about = {"key": key, "windowsVirtualKeyCode": code, **({"text": text} if text else {})}
        await self.send("Input.dispatchKeyEvent", type="keyDown", **about)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    async def click(self, selector: str) -> None:
        """Press a button."""
        await self.evaluate(f"document.querySelector({selector!r}).click()")

    async def look(self, *, width: int = 1280, scheme: str = "light", motion: str = "no-preference") -> None:
        """Set what the page can ask of its user's screen."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        await self.send("Emulation.setEmulatedMedia", features=features)

    async def photograph(self, path: Path) -> None:
        """Write all of the page to a PNG file."""
        picture = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(picture["data"]))


@contextmanager
def profile_folder() -> Iterator[str]:
    """Make a folder; remove it as often as it takes: a process that was killed may still be writing its last file."""
    folder = tempfile.mkdtemp()
    try:
        yield folder
    finally:
        for _ in range(50):
            shutil.rmtree(folder, ignore_errors=True)
            if not Path(folder).exists():
                break
            time.sleep(0.1)


@asynccontextmanager
async def chromium(url: str, *switches: str) -> AsyncIterator[Page]:
    """Run Chromium with a page until the block ends."""
    binary = program("chromium", "Debian: chromium")
    with profile_folder() as profile:
        browser = await start(
            binary, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
            f"--user-data-dir={profile}", "--remote-debugging-port=0", *switches, "about:blank",
        )  # fmt: skip
        try:
            async with asyncio.timeout(PATIENCE):
                address = await _debugger(browser)
            async with websockets.connect(address, max_size=None) as socket:
                page = Page(socket)
                await page.send("Runtime.enable")
                await page.send("Log.enable")
                await page.send("Network.enable")
                await page.look()
                await page.send("Page.navigate", url=url)
                await page.until(
                    f"location.href.startsWith({url!r}) && document.readyState === 'complete'", PATIENCE
                )
                yield page
            await browser.stop()
        finally:
            await browser.close()


async def _debugger(browser: Process) -> str:
    """Return the address of the first page, for a WebSocket, as soon as there is one."""
    assert browser.process.stderr is not None
    while b"DevTools listening" not in (line := await browser.process.stderr.readline()):
        assert line, "the browser ended"
    port = line.decode().split(":")[2].split("/")[0]
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                pages = [page for page in await answer.json() if page["type"] == "page"]
            if pages:
                return str(pages[0]["webSocketDebuggerUrl"])
            await asyncio.sleep(0.02)  # a page of another process
