"""The report and the live page in real Chromium: what moves, what follows, and what is never asked for."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from loadtest.page.document import render
from tests.end_to_end.chromium import Page, chromium
from tests.end_to_end.processes import Endpoint, loadtest, start
from tests.loadtest.test_page import hostile, report

TIMED = "[...document.querySelectorAll('figure')].filter(one => !/^(bars|curve) /.test(one.dataset.key))"
WHOLE = "document.getElementById('whole').disabled"


@asynccontextmanager
async def opened(tmp_path: Path, html: str) -> AsyncIterator[Page]:
    """Open a report from a file; it never makes another request."""
    file = tmp_path / "report.html"
    file.write_text(html, encoding="utf-8")
    async with chromium(file.as_uri()) as page:
        yield page
        assert {url for url in page.requests if not url.startswith("data:")} == {file.as_uri()}
        assert page.complaints == []


async def box(page: Page, key: str) -> dict[str, float]:
    """Return where the lines of a plot are, after having scrolled it into view."""
    found: dict[str, float] = await page.evaluate(
        f"(() => {{ const over = document.querySelector('[data-key=\"{key}\"] .u-over');"
        "over.scrollIntoView({block: 'center'}); const {x, y, width, height} = over.getBoundingClientRect();"
        "return {x, y, width, height} })()"
    )
    return found


async def mouse(page: Page, kind: str, place: dict[str, float], across: float) -> None:
    await page.send(
        "Input.dispatchMouseEvent", type=kind, x=place["x"] + place["width"] * across,
        y=place["y"] + place["height"] / 2, button="none" if kind == "mouseMoved" else "left", clickCount=1,
    )  # fmt: skip


async def cursors(page: Page) -> list[float]:
    """Return for each plot over time how far across it the cursor is, in hundredths."""
    shares: list[float] = await page.evaluate(
        TIMED + ".map(one => { const over = one.querySelector('.u-over');"
        "const left = new DOMMatrix(getComputedStyle(one.querySelector('.u-cursor-x')).transform).e;"
        "return Math.round(100 * left / over.clientWidth) })"
    )
    return shares


async def slide(page: Page, second: int) -> None:
    """Move the slider that is for fingers and keys."""
    await page.evaluate(
        f"(() => {{ const moment = document.getElementById('moment'); moment.focus(); moment.value = {second};"
        "moment.dispatchEvent(new Event('input')) })()"
    )


async def test_all_plots_follow_the_pointer_and_the_zoom(tmp_path: Path) -> None:
    reported = report(60, delivered=[float(second) for second in range(60)], errors=[0.0] * 39 + [2.0] + [0.0] * 20)
    async with opened(tmp_path, render(reported)) as page:
        assert await page.evaluate(TIMED + ".length") == 5
        place = await box(page, "delivery")
        await mouse(page, "mouseMoved", place, 0.5)
        await page.until("document.getElementById('now').textContent === '30 s'")
        assert await cursors(page) == [50] * 5
        assert await page.text("[data-key=delivered] output") == "29"
        assert await page.text("[data-key=delivery] .s1 output") == "9"

        await mouse(page, "mousePressed", place, 0.5)
        for across in (0.6, 0.8):
            await mouse(page, "mouseMoved", place, across)
        await mouse(page, "mouseReleased", place, 0.8)
        await page.until(f"!{WHOLE}")
        # From 30 to 48 seconds: the 39th is in the middle of every plot.
        await slide(page, 39)
        assert await cursors(page) == [50] * 5
        await slide(page, 40)
        assert await page.text("#now") == "40 s, 2 errors"
        await page.press("Escape")
        await page.until(WHOLE)
        assert set(await cursors(page)) == {67}

        await page.evaluate("document.querySelector('[data-key=\"curve delivery\"] .canvas').focus()")
        for _ in range(2):
            await page.press("ArrowRight")
        assert await page.text('[data-key="curve delivery"] output') == "p10: 10.01 ms"


async def test_hostile_names_do_nothing_and_fit(tmp_path: Path) -> None:
    async with opened(tmp_path, render(hostile())) as page:
        assert await page.evaluate("document.querySelectorAll('img, iframe').length") == 0
        assert await page.evaluate("document.querySelectorAll('figure canvas').length") > 5
        for width in (400, 1280):
            await page.look(width=width, scheme="dark")
            await page.until("document.documentElement.scrollWidth <= innerWidth")


async def test_a_run_without_samples_says_that_there_is_nothing_to_draw(tmp_path: Path) -> None:
    reported = report(0)
    reported.latencies.clear()
    async with opened(tmp_path, render(reported)) as page:
        assert "not enough data for plots over time" in await page.text("#remark")
        assert await page.evaluate("document.getElementById('tools').hidden")


async def test_without_javascript_the_plots_are_pictures(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(render(report()), encoding="utf-8")
    async with chromium("about:blank") as page:
        await page.send("Emulation.setScriptExecutionDisabled", value=True)
        await page.send("Page.navigate", url=file.as_uri())
        while not (root := await page.send("DOM.getDocument")) or not await labelled(page, root["root"]["nodeId"]):
            await asyncio.sleep(0)
        assert page.complaints == []


async def labelled(page: Page, root: int) -> list[int]:
    found: dict[str, Any] | None = await page.send("DOM.querySelectorAll", nodeId=root, selector="noscript svg")
    return found["nodeIds"] if found else []


async def test_the_live_page_moves_ends_with_the_verdict_and_keeps_nobody_waiting(
    tmp_path: Path, shared: Endpoint
) -> None:
    file = tmp_path / "report.html"
    # It is stopped as soon as all was seen, however slow the browser is.
    child = await start(*loadtest(
        "broadcast", "--url", shared.url, "--clients", "5", "--rate", "20", "--duration", "100",
        "--live-port", "0", "--html", str(file),
    ))  # fmt: skip
    try:
        url = await address(child.process.stderr)
        async with chromium(url) as page:
            delivered = "document.querySelector('#counted').textContent.match(/delivered([\\d,]+)/)?.[1]"
            first = await page.until(f"{delivered} > '0' && {delivered}")
            await page.until(f"{delivered} !== {first!r}")
            assert await page.evaluate("document.title") == "loadtest broadcast: running"
            await page.until(TIMED + ".length > 2")
            child.process.send_signal(signal.SIGINT)
            await page.until("document.title === 'loadtest broadcast: interrupted'")
            assert await child.ended(30) == 1
            assert str(file) in await page.text("#remark")
            assert "interrupted" in await page.text("h1")
            assert page.complaints == []
    finally:
        await child.close()
    assert "loadtest broadcast: interrupted" in file.read_text()


async def address(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    while b"live page at " not in (line := await asyncio.wait_for(stream.readline(), 60)):
        assert line, "it ended"
    return line.decode().split("live page at ")[1].strip()


async def test_a_port_in_use_is_said_before_anything_is_connected(shared: Endpoint) -> None:
    child = await start(*loadtest("idle", "--url", shared.url, "--clients", "1", "--live-port", str(shared.port)))
    _, err = await asyncio.wait_for(child.process.communicate(), 60)
    assert child.process.returncode == 2
    assert err.decode().startswith(f"--live-port: cannot listen on 127.0.0.1:{shared.port}: Address already in use")
