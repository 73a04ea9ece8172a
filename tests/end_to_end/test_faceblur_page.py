"""The page for faces in real Chromium, with its camera that is none: what its user sees."""

from pathlib import Path

import pytest

from tests.end_to_end.chromium import Page, chromium
from tests.end_to_end.processes import service

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
PAGE = "static/faceblur.html"
COUNTS = "Object.fromEntries([...document.querySelectorAll('#frames tr')].map(row => [row.cells[0].textContent, Number(row.cells[1].textContent)]))"
NOTE = "document.getElementById('run').textContent"
CHANGED = """(() => {
  const [before, after] = ["before", "after"].map(id => document.getElementById(id));
  const pixels = canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return before.width === after.width && before.height === after.height && pixels(after).some(value => value > 20 && value < 255);
})()"""


async def opened(page: Page, url: str) -> None:
    await page.send("Page.navigate", url=f"{url}/{PAGE}")
    await page.until(
        f"location.href.startsWith({url!r}) && document.getElementById('state').textContent === 'connected'"
    )


async def test_the_page_sends_camera_and_photograph_and_says_what_is_missing(tmp_path: Path) -> None:
    for package in ("cv2", "skimage"):
        pytest.importorskip(package, reason="the extra vision, or scikit-image, is not installed")
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['cv2'] = sys.modules['skimage'] = None\n")
    async with chromium("about:blank", *CAMERA) as page:
        async with service(env={"PYTHONPATH": str(tmp_path)}) as without:
            await opened(page, without.url)
            await page.click("#camera")
            await page.until(f"{NOTE}.includes(\"pip install 'sluice[vision]'\")")
            await page.click("#photograph")
            await page.until(f"{NOTE}.includes('pip install scikit-image')")
            # Otherwise it would go on to look for this service.
            await page.send("Page.navigate", url="about:blank")
            await page.until("location.href === 'about:blank'")

        page.complaints.clear()
        page.requests.clear()
        async with service() as server:
            await opened(page, server.url)
            await page.click("#camera")
            await page.until(f"({COUNTS})['Came back'] >= 10")
            await page.until("document.querySelectorAll('#stages tr').length === 4")
            stages = await page.evaluate(
                "[...document.querySelectorAll('#stages td:first-child')].map(c => c.textContent)"
            )
            assert stages == ["decode", "detect", "blur", "encode"]
            assert await page.until(CHANGED)

            await page.click("#photograph")
            await page.until("document.getElementById('faces').textContent === '1'")
            await page.until("parseFloat(document.getElementById('rate').textContent) > 0")
            sent, back, dropped, failed, _ = list((await page.evaluate(COUNTS)).values())
            assert failed == 0
            assert 0 <= sent - back - dropped <= 8
            await page.click("#stop")
            assert await page.evaluate(NOTE) == "Stopped."
            assert await page.evaluate("document.getElementById('stop').disabled")

            await page.click("#photograph")
            await page.until(f"{NOTE} === 'Running.'")
            assert page.complaints == []
            assert {url.split("/")[2] for url in page.requests if not url.startswith(("data:", "blob:"))} == {
                server.authority
            }
        await page.until(f"{NOTE}.startsWith('The connection was closed')")
        await page.click("#camera")
        await page.until(f"{NOTE}.startsWith('The service cannot be reached')")
