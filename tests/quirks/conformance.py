"""docs/conformance.md: what happens to each quirk here, in curl, in aiohttp's client and in Chromium, asked live."""

import asyncio
import json
import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import aiohttp

from tests.end_to_end.chromium import Page, chromium
from tests.end_to_end.processes import ROOT, start
from tests.quirks.model import Ask, Quirk, text_of
from tests.quirks.running import AIOHTTP, BROWSER, CURL, Reported, Surroundings, run_all, surroundings
from tests.quirks.table import QUIRKS

__all__ = ["DOCUMENT", "cell", "ours", "write"]

DOCUMENT = ROOT / "docs" / "conformance.md"
_TIMEOUT = 3
_TEXTS = ("A9", "A10", "A18")
_KINDS = {
    "A1": "Bytes above 127 in heads",
    "A2": "Bytes that nobody asked for",
    "A3": "Locations",
    "A4": "Bodies that break off",
    "A5": "Content codings that are damaged",
    "A6": "URLs on the wire",
    "A7": "Watches: validators",
    "A8": "Caching: what may not be shared",
    "A9": "Texts: which of several declarations counts",
    "A10": "Texts: encodings",
    "A11": "Content codings",
    "A12": "robots.txt",
    "A16": "Selections of XML",
    "A17": "Selections of HTML",
    "A18": "JSON",
    "A19": "Sizes of heads",
    "A20": "What is not quite HTTP",
    "A21": "Kept connections that end",
    "A22": "Caching: dates and ages; fragments",
    "D11": "Names of one origin",
    "1xx": "Interim answers",
    "codes": "Status codes",
    "chunks": "Chunks",
    "lengths": "Lengths",
    "limits": "Bounds, and several at once",
    "redirects": "Redirects",
}
_HEAD = """# What upstreams send, and what happens to it

Each line is something that servers do, right or wrong, as people have reported it of other clients, or a relative of that.
`python -m tests.quirks write` makes this page: it asks this service, curl {curl}, aiohttp {aiohttp} and Chromium's
`fetch` for the same bytes, with time-outs of {timeout} s and no retries. `tests/quirks` holds the answers and what is right,
and the test-suite asks for all of them, over `/fetch-batch`, WebSocket, `/watch` and `sluice fetch`; beside each and after it
other URLs of the same origin have to bring their own bodies.

A status alone means that the body came, whole and decoded, and was the one of the URL. A path after it is the one that the
server was asked for; a text in quotes is another body (`packed`: with its coding still on). For failures there is the kind here, the exit code of curl, and the
exception of aiohttp; Chromium does not say why. Several things that came of several requests stand beside each other with
"or". The other columns are empty where a client that has no cache, watches nothing or has no address policy cannot be asked.

"""


def _shown(text: str, host: str, quirk: Quirk) -> str:
    """Return what a body shows: nothing for the quirk's own, the target for another's, else how it begins."""
    if text == f"[{host} {quirk.target(quirk.asks[0]).partition('#')[0]}]" and quirk.kind != "A6":
        return ""
    if sum(not sign.isprintable() for sign in text) > 3:
        return ", packed"
    if found := re.fullmatch(rf"\[{re.escape(host)} (.*)\]", text, re.DOTALL):
        return " " + _code(found[1])
    return f' "{_code(text)}"' if text else ", empty"


def _code(text: str) -> str:
    text = re.sub(r"127(\.[0-9]+){3}(:[0-9]+)?", "HOST", text)
    short = text if len(text) <= 40 else f"{text[:28]}… ({len(text)})"
    printable = "".join(sign if sign.isprintable() else f"\\x{ord(sign):02x}" for sign in short)
    return "`" + printable.replace("|", "\\|").replace("`", "'") + "`"


@dataclass(frozen=True)
class _Got:
    """What another client got: a cell, and whether it is right."""

    cell: str
    right: bool


def _got(quirk: Quirk, host: str, status: int | None, text: str = "", why: str = "") -> _Got:
    target = quirk.target(quirk.asks[0]).partition("#")[0]
    right = any(right.holds(status, text, host, target) for right in quirk.asks[0].right)
    return _Got(f"fails{why}" if status is None else f"{status}{_shown(text, host, quirk)}", right)


def cell(quirk: Quirk, reported: Reported, host: str) -> str:
    """Return what happened to a quirk here."""
    if quirk.watching:
        return ", ".join(_reported(event) for event in reported.events)
    if quirk.asks[-1].times > 1:
        found = {
            f"`{event['error']}`" if event["event"] == "failed" else str(event["status"])
            for event in reported.events
        }
        return " or ".join(sorted(found))
    last = reported.events[-1:]
    return " or ".join(dict.fromkeys(_event(quirk, event, host) for event in last))


def _reported(event: dict[str, Any]) -> str:
    body = event.get("body")
    return f"{event['event']} {_code(body)}" if body is not None else str(event["event"])


def _event(quirk: Quirk, event: dict[str, Any], host: str) -> str:
    if event["event"] == "failed":
        return f"`{event['error']}`"
    cached = f", {event['cache']}" if len(quirk.asks) > 1 and quirk.kind in ("A8", "A22") else ""
    final = f" `#{event['final_url'].partition('#')[2]}`" if "#" in event["final_url"] else ""
    return f"{event['status']}{_shown(text_of(event), host, quirk)}{final}{cached}"


async def _curl(around: Surroundings, quirk: Quirk, url: str, host: str) -> _Got:
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder, "body")
        child = await start(
            "curl", "-sS", "-g", "--noproxy", "*", "-L", "--max-redirs", "5", "--compressed", "--max-time", f"{_TIMEOUT}",
            "--cacert", around.ca, "-o", str(body), "-w", "%{http_code}", url,
        )  # fmt: skip
        out, _ = await child.process.communicate()
        if child.process.returncode:
            return _got(quirk, host, None, why=f" ({child.process.returncode})")
        if quirk.kind in _TEXTS:
            return _Got(f"{int(out)}, bytes", True)
        text = body.read_bytes().decode("utf-8", "replace") if body.exists() else ""
        return _got(quirk, host, int(out), text)


async def _aiohttp(session: aiohttp.ClientSession, quirk: Quirk, url: str, host: str) -> _Got:
    try:
        async with session.get(url, max_redirects=6) as answer:
            body = await answer.read()
            try:
                text = body.decode(answer.get_encoding())
            except (LookupError, UnicodeDecodeError):
                text = body.decode("latin-1")
            return _got(quirk, host, answer.status, text)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return _got(quirk, host, None, why=f" ({type(error).__name__})")


_FETCH = """(async () => {
  try {
    const answer = await fetch(%s, {cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(%d)});
    const bytes = await answer.arrayBuffer();
    const type = answer.headers.get("content-type") || "";
    const label = (/charset="?([^;"]+)/i.exec(type) || [])[1] || "utf-8";
    let text; try { text = new TextDecoder(label).decode(bytes) } catch { text = new TextDecoder().decode(bytes) }
    return [answer.status, text];
  } catch (error) { return [0, String(error.name)] }
})()"""


async def _fetched(page: Page, url: str, clean: str) -> tuple[int, str]:
    """Return the status and text of a page's ``fetch``; 0 is a failure.

    For some seconds now and then everything fails, through no fault of the server: what fails then is asked again.
    """
    for _ in range(5):
        status, text = await page.evaluate(_FETCH % (json.dumps(url), _TIMEOUT * 1000))
        if status or (await page.evaluate(_FETCH % (json.dumps(clean), _TIMEOUT * 1000)))[0]:
            break
        while not (await page.evaluate(_FETCH % (json.dumps(clean), _TIMEOUT * 1000)))[0]:
            await asyncio.sleep(0.5)
    return int(status), str(text)


async def _in_browser(around: Surroundings, quirks: list[Quirk]) -> dict[str, _Got]:
    """Ask a page's ``fetch``, for which the origin of what is asked does not matter."""
    if shutil.which("chromium") is None:
        return {}
    reported = {}
    page_url = f"http://127.{BROWSER}.255.1:{around.server.ports[0]}/clean/page"
    async with chromium(
        page_url, "--no-proxy-server", "--disable-web-security", "--ignore-certificate-errors"
    ) as page:
        for quirk in quirks:
            status, text = await _fetched(page, around.url(quirk, quirk.asks[0], BROWSER), page_url)
            reported[quirk.name] = _got(quirk, around.host(quirk, BROWSER), status or None, text)
    return reported


async def _each(quirks: list[Quirk], asking: Callable[[Quirk], Awaitable[_Got]]) -> dict[str, _Got]:
    places = asyncio.Semaphore(16)

    async def one(quirk: Quirk) -> tuple[str, _Got]:
        async with places:
            return quirk.name, await asking(quirk)

    return dict(await asyncio.gather(*map(one, quirks)))


async def _peers() -> list[dict[str, _Got]]:
    """Return what happens to what any client can be asked, in curl, aiohttp and Chromium."""
    async with surroundings(QUIRKS) as around:
        simple = [quirk for quirk in QUIRKS if (quirk.simple or quirk.tls) and not quirk.elsewhere]
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        async with aiohttp.ClientSession(timeout=timeout) as session:

            def url(quirk: Quirk, way: int) -> tuple[str, str]:
                ask: Ask = quirk.asks[0]
                return around.url(quirk, ask, way), around.host(quirk, way)

            return [
                await _each(simple, lambda quirk: _curl(around, quirk, *url(quirk, CURL))),
                await _each(simple, lambda quirk: _aiohttp(session, quirk, *url(quirk, AIOHTTP))),
                await _in_browser(around, simple),
            ]


def ours(quirks: Iterable[Quirk], reported: dict[str, Reported]) -> dict[str, str]:
    """Return what happened to each quirk here."""
    hosts = Surroundings(list(quirks))
    return {quirk.name: cell(quirk, reported[quirk.name], hosts.host(quirk)) for quirk in hosts.quirks}


def _summary(reported: dict[str, Reported], peers: list[dict[str, _Got]]) -> str:
    """Count what is right, of what any client can be asked."""
    asked = [quirk.name for quirk in QUIRKS if quirk.name in peers[0]]
    right = [
        sum(not reported[name].wrong for name in asked),
        *(sum(got.right for got in column.values()) for column in peers),
    ]
    every = sum(not one.wrong for one in reported.values())
    return (
        f"Of {len(asked)} that any client can be asked, right are\n\n| sluice | curl | aiohttp | Chromium |\n|---|---|---|---|\n"
        f"| {' | '.join(str(count) if count else '' for count in right)} |\n\n"
        "The encoding of a text is the business of curl's caller, and counts as right; reasons of failures count here alone. With\n"
        f"the others, that need a cache, watches or a policy, {every} of {len(QUIRKS)} are right here.\n\n"
    )


async def write() -> None:
    """Ask everyone, and write the page."""
    reported, peers = await run_all(QUIRKS), await _peers()
    curl = await start("curl", "--version")
    version = (await curl.process.communicate())[0].split()[1].decode()
    lines = [_HEAD.format(curl=version, aiohttp=aiohttp.__version__, timeout=_TIMEOUT), _summary(reported, peers)]
    columns = [ours(QUIRKS, reported), *({name: got.cell for name, got in column.items()} for column in peers)]
    by_kind = sorted(QUIRKS, key=lambda quirk: list(_KINDS).index(quirk.kind))
    for kind, quirks in groupby(by_kind, key=lambda quirk: quirk.kind):
        lines.append(
            f"## {_KINDS[kind]}\n\n| quirk | sluice | curl | aiohttp | Chromium | |\n|---|---|---|---|---|---|\n"
        )
        for quirk in quirks:
            cells = " | ".join(column.get(quirk.name, "") for column in columns)
            lines.append(f"| {quirk.name} | {cells} | {quirk.others} |\n")
        lines.append("\n")
    DOCUMENT.write_text("".join(lines).rstrip() + "\n")


def written() -> dict[str, str]:
    """Return what the page says of this service, by quirk."""
    rows = re.findall(r"^\| ([a-z0-9.-]+) \| (.*?) \| ", DOCUMENT.read_text(), re.MULTILINE)
    return dict(rows)
