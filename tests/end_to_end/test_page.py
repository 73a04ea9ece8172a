"""The page in real Chromium: what its user sees and does."""

import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from service.client import Client, JobProgress
from tests.end_to_end.chromium import Page, chromium
from tests.end_to_end.processes import Process, origin, service

ENTER: dict[str, Any] = {"key": "Enter", "code": 13, "text": "\r"}


async def connected(page: Page) -> None:
    await page.until("document.getElementById('state').textContent === 'connected'")


def fetching(upstream: Process) -> tuple[str, ...]:
    return ("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port))


async def test_figures_appear_and_move() -> None:
    async with service() as server, chromium(server.url) as page, aiohttp.ClientSession() as session:
        await connected(page)
        assert await page.until("document.querySelectorAll('#plots svg').length") == 5
        assert await page.until("document.getElementById('connections').textContent === '1'")
        first = await page.until("document.querySelector('.plot .line').getAttribute('d')?.includes('L') && "
                                 "document.querySelector('.plot .line').getAttribute('d')")  # fmt: skip
        await page.until(f"document.querySelector('.plot .line').getAttribute('d') !== {first!r}")
        async with session.ws_connect(f"{server.url}/ws") as socket:
            for topic in ("t", "<b>bold</b>"):
                params: dict[str, Any] = {"topic": topic}
                await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params})
            await page.until("document.getElementById('connections').textContent === '2'")
            for _ in range(20):
                for topic in ("t", "<b>bold</b>"):
                    params = {"topic": topic, "data": 1}
                    await socket.send_json({"jsonrpc": "2.0", "method": "publish", "params": params})
            # What others have named is text, and nothing else.
            await page.until(
                "[...document.querySelectorAll('#busiest td')].some(c => c.textContent === '<b>bold</b>')"
            )
            await page.until("parseFloat(document.getElementById('deliveries').textContent) >= 1")
        assert await page.evaluate("document.querySelectorAll('#busiest b').length") == 0
        label = await page.evaluate("document.querySelector('.plot svg').getAttribute('aria-label')")
        assert label.startswith("Connections, the last two minutes: 1 to 2")
        assert page.complaints == []


async def test_a_batch_runs_to_done() -> None:
    async with (
        origin() as upstream,
        service(*fetching(upstream)) as server,
        chromium(server.url) as page,
    ):
        await connected(page)
        await page.fill("#urls", "\n".join(f"{upstream.url}/bytes/{size}" for size in (10, 20, 30)) + "\nnonsense")
        await page.click("#begin")
        done = await page.until("document.getElementById('fetch-status').textContent.startsWith('done') && "
                                "document.getElementById('fetch-status').textContent")  # fmt: skip
        assert done.startswith("done: 3 fetched, 1 failed")
        cells = await page.evaluate(
            "[...document.querySelectorAll('#results td:nth-child(4)')].map(cell => cell.textContent)"
        )
        assert sorted(cells) == ["", "10", "20", "30"]
        assert "invalid_url" in await page.text("#results .bad")
        assert await page.text("#progress-label") == "4 of 4"
        await page.until("!document.getElementById('time').hidden")
        label = await page.evaluate("document.querySelector('#time svg').getAttribute('aria-label')")
        assert re.match(r"Time: network [\d.]+ m?s, ", label)
        parts = "[...document.querySelectorAll('#time rect')].map(part => Number(part.getAttribute('width')))"
        assert sum(await page.evaluate(parts)) == pytest.approx(100)
        listed = await page.text("#time ul")
        assert [place for place in ("network", "waiting", "loop", "threads", "processes") if place in listed] == [
            "network", "waiting", "loop", "threads", "processes",
        ]  # fmt: skip
        await page.fill("#urls", "\n".join(f"{upstream.url}/slow/20000?{number}" for number in range(3)))
        await page.click("#begin")
        await page.until("document.querySelector('#running td:last-child rect') !== null")
        assert await page.evaluate("document.getElementById('time').hidden")
        await page.until("!document.getElementById('cancel').disabled")
        await page.click("#cancel")
        await page.until(
            "document.getElementById('fetch-status').textContent.startsWith('done: 0 fetched, 3 failed')"
        )
        assert page.complaints == []


async def test_a_watch_tells_its_changes_and_stops() -> None:
    async with (
        origin() as upstream,
        service(*fetching(upstream)) as server,
        chromium(server.url) as page,
    ):
        await connected(page)
        await page.fill("#watch-url", f"{upstream.url}/etag/a?period=1")
        await page.fill("#every", "1")
        await page.fill("#select", "/version")
        await page.press(**ENTER)
        await page.until("document.querySelectorAll('#changes li').length >= 2")
        assert "changed, 200: " in await page.text("#changes li")
        await page.until("document.querySelector('#watched td')?.textContent.endsWith('/etag/a?…')")
        await page.click("#unwatch")
        await page.until("document.querySelector('#watched td')?.textContent === 'none'")
        assert await page.text("#watch-status") == "ended"
        assert page.complaints == []


@pytest.mark.parametrize(("meanwhile", "gap"), [(3, False), (40, True)])
async def test_a_topic_is_published_read_cut_and_resumed(meanwhile: int, gap: bool) -> None:
    async with service("--ring-messages", "10") as server, chromium(server.url) as page:
        await connected(page)
        await page.click("#open button")
        await page.until("!document.getElementById('send').disabled")
        await page.fill("#message", '{"hostile": "<img src=x onerror=alert(1)>"}')
        await page.press(**ENTER)
        line = "1" + '{"hostile":"<img src=x onerror=alert(1)>"}'
        assert await page.until("document.querySelector('#messages li')?.textContent") == line
        await page.fill("#meanwhile", str(meanwhile))
        await page.press(**ENTER)
        await page.until("document.getElementById('state').textContent.startsWith('connection lost')")
        await page.until("!document.getElementById('cut-button').disabled")
        await page.until(f"document.querySelector('#messages li').textContent.startsWith('{meanwhile + 1}')")
        lines = await page.evaluate("[...document.querySelectorAll('#messages li')].map(line => line.textContent)")
        shown = min(meanwhile, 10)
        assert [int(line.split('"')[0]) for line in reversed(lines[:shown])] == list(
            range(meanwhile + 2 - shown, meanwhile + 2)
        )
        assert [line for line in lines if line.startswith("gap")] == (["gap2 to 31 are gone"] if gap else [])
        assert lines[-2:] == [f"cutat 1; {meanwhile} are published meanwhile", line]
        assert "backafter 1" in lines
        assert await page.text("#state") == "connected"
        assert page.complaints == []


FUNCTIONS = """
import time
from pathlib import Path
from service.jobs import job


@job(retries=0)
def transcode(video, context):
    print("pass one of", video)
    context.progress(1, 4, "minutes")
    while not context.cancelled and not Path(context.key).exists():
        time.sleep(0.01)
    raise ValueError("<b>no such codec</b>")
"""


async def test_jobs_are_listed_followed_cancelled_and_run_again(tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(FUNCTIONS)
    async with (
        service("--jobs", "functions", env={"PYTHONPATH": str(tmp_path)}) as server,
        chromium(server.url) as page,
        Client(server.url) as client,
    ):
        await connected(page)
        assert await page.text("#jobs-none") == "none"
        message = {"topic": "t", "data": 1}
        for _ in range(11):
            await client.job(publish=message, delay=3600)
        key = str(tmp_path / "go on")
        refresh = "document.getElementById('job-state').onchange()"
        job = await client.job(run={"name": "transcode", "args": {"video": "a.mkv"}}, key=key)
        async for event in job:
            if isinstance(event, JobProgress):
                break
        await page.evaluate(refresh)
        rows = "[...document.querySelectorAll('#job-list tr')].map(row => row.cells[2].textContent)"
        await page.until(f"{rows}.join() === 'running' + ',scheduled'.repeat(9)")
        assert (await page.text("#job-list td:last-child")) == "\N{EN DASH}"
        due = "document.querySelector('#job-list tr:last-child td:last-child').textContent"
        first = await page.until(f"/^in 59:|^in 1:00:00$/.test({due}) && {due}")
        await page.until(f"{due} !== {first!r}")
        await page.click("#jobs-older")
        await page.until(f"{rows}.join() === 'scheduled,scheduled'")
        await page.click("#jobs-newest")
        await page.until(f"{rows}[0] === 'running'")

        await page.click("#job-list button")
        await page.until("document.getElementById('job-progress-label').textContent === '1 of 4 minutes'")
        assert await page.evaluate("document.getElementById('job').value") == job.id
        assert await page.evaluate("document.getElementById('job-progress').value") == 1
        events = "[...document.querySelectorAll('#job-events li span:first-child')].map(mark => mark.textContent)"
        assert await page.evaluate(events) == ["progress", "started", "queued"]
        await page.click("#job-cancel")
        await page.until("document.getElementById('follow-status').textContent === 'cancelled'")
        await page.until("document.getElementById('job-output').textContent.includes('pass one of a.mkv')")
        Path(key).touch()
        await page.click("#job-again")
        await page.until("document.getElementById('follow-status').textContent === 'failed'")
        assert (await page.evaluate(events)).count("queued") == 2
        # What a function raises is text, and nothing else.
        assert "<b>no such codec</b>" in await page.text("#job-events li")
        assert not await page.evaluate("document.getElementById('job-again').disabled")
        await page.until(f"{rows}[0] === 'failed'")
        await page.evaluate("document.getElementById('job-state').value = 'cancelled'")
        await page.evaluate(refresh)
        await page.until("!document.getElementById('jobs-none').hidden")
        await page.fill("#job", "nonsense")
        await page.press(**ENTER)
        await page.until("document.getElementById('follow-status').textContent.includes('does not exist')")
        assert [one for one in page.complaints if "404" not in one] == []


async def test_it_asks_for_the_token_where_one_is_needed() -> None:
    async with service(env={"SLUICE_TOKEN": "right"}) as server, chromium(server.url) as page:
        await page.until("!document.getElementById('login').hidden")
        assert await page.evaluate("document.activeElement.id") == "token"
        assert await page.text("#state") == "a token is needed"
        for token in ("wrong", "no token at all"):
            await page.fill("#token", token)
            await page.press(**ENTER)
            await page.until("!document.getElementById('login').hidden")
        assert await page.text("#state") == "the token is not valid"
        await page.fill("#token", "right")
        await page.press(**ENTER)
        await connected(page)
        assert await page.evaluate("document.getElementById('login').hidden")
        await page.until("document.getElementById('connections').textContent === '1'")
        stored = "localStorage.length + sessionStorage.length + document.cookie.length"
        assert await page.evaluate(stored) == 0
        assert page.complaints == []


async def test_nothing_but_its_own_files_runs() -> None:
    async with service() as server, chromium(server.url) as page, aiohttp.ClientSession() as session:
        for path in ("/", "/static/sluice.js", "/static/page.css"):
            async with session.get(server.url + path) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
                assert "unsafe" not in policy
                assert "require-trusted-types-for 'script'" in policy
        await connected(page)
        assert page.complaints == []
        await page.evaluate(
            "(() => { const script = document.createElement('script'); script.append('document.title = 1');"
            "try { document.body.append(script) } catch {} })()"
        )
        blocked = "(() => { try { document.body.innerHTML = '<b>'; return false } catch { return true } })()"
        assert await page.evaluate(blocked)
        assert await page.evaluate("document.title") == "sluice"
        assert any(
            "Content Security Policy" in complaint or "TrustedHTML" in complaint for complaint in page.complaints
        )
        assert (
            await page.evaluate("document.querySelectorAll('[style],[onclick],style,script:not([src])').length")
            <= 1
        )


async def test_everything_is_reached_by_keyboard_and_has_a_name() -> None:
    async with service() as server, chromium(server.url) as page:
        await connected(page)
        seen = []
        for _ in range(40):
            await page.press("Tab", code=9)
            seen.append(
                await page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()")
            )
        expected = ["Skip to trying things", "urls", "begin", "watch-url", "every", "select", "topic", "since",
                    "message", "meanwhile", "job-state", "job"]  # fmt: skip
        assert [one for one in seen[: seen.index("sluice.js")] if one in expected] == expected
        tree = (await page.send("Accessibility.getFullAXTree"))["nodes"]
        named = {"button", "textbox", "combobox", "spinbutton", "progressbar", "link", "region", "image", "list"}
        roles = [node for node in tree if not node["ignored"] and node["role"]["value"] in named]
        assert len(roles) > 20
        for node in roles:
            assert node.get("name", {}).get("value"), node
        live = "[...document.querySelectorAll('[role=status]')].map(one => one.id)"
        assert await page.evaluate(live) == [
            "state", "fetch-status", "watch-status", "topic-status", "jobs-status", "follow-status",
        ]  # fmt: skip


async def test_it_fits_each_screen_and_keeps_still_where_that_is_asked_for(tmp_path: Path) -> None:
    async with (
        origin() as upstream,
        service(*fetching(upstream)) as server,
        chromium(server.url) as page,
    ):
        await connected(page)
        await page.until("document.getElementById('memory').textContent.endsWith('MiB')")
        await page.fill("#urls", "\n".join(f"{upstream.url}/bytes/{size}" for size in range(20)) + "\nnonsense")
        await page.click("#begin")
        await page.until("document.getElementById('fetch-status').textContent.startsWith('done')")
        await page.evaluate("fetch('jobs', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: "
                            "JSON.stringify({ publish: { topic: 't', data: 1 } }) })")  # fmt: skip
        await page.evaluate("document.getElementById('job-state').onchange()")
        await page.until("/^[0-9/]+, [0-9:]+$/.test(document.querySelector('#job-list td:last-child').textContent)")
        sizes = set()
        for scheme in ("light", "dark"):
            for width in (360, 768, 1440):
                await page.look(width=width, scheme=scheme)
                wide = "document.documentElement.scrollWidth"
                assert await page.evaluate(wide) <= width
                await page.photograph(tmp_path / f"{scheme}-{width}.png")
                sizes.add((tmp_path / f"{scheme}-{width}.png").stat().st_size)
            paper = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert paper == {"light": "rgb(252, 252, 250)", "dark": "rgb(20, 23, 26)"}[scheme]
        assert len(sizes) == 6
        moving = "document.querySelector('.plot g').getAnimations().length"
        await page.until(moving)
        await page.look(motion="reduce")
        await page.until(moving + " === 0")  # what had begun
        number = await page.evaluate("document.querySelector('.plot .line').getAttribute('d')")
        await page.until(f"document.querySelector('.plot .line').getAttribute('d') !== {number!r}")
        assert await page.evaluate(moving) == 0
        assert page.complaints == []
