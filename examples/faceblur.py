"""Blur the faces in a picture, in all pictures of a folder, or in a video.

The service has to have the extra "vision" (pip install 'sluice[vision]'); a video needs OpenCV here, too.
Frames go over one WebSocket, as many at a time as the service takes, and come back in order.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp

URL = "http://127.0.0.1:8080/pipelines/faceblur"
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
REFUSED = {
    401: "the service wants a token: give --token, or set SLUICE_TOKEN",
    403: "the token does not allow it: it needs the grant fetch",
    404: "the service has no such pipeline; faceblur is there once you run: pip install 'sluice[vision]'",
    429: "the service has as many clients of pipelines as it takes: try again later",
    503: "the service takes no more work now: try again later",
}
CLOSED = {
    1001: "the service was shut down before all was done",
    1009: "a picture is larger than the service takes: make it smaller, or raise the service's --frame-size",
    4401: REFUSED[401],
}

CLEAR = "\r\x1b[K"
"""Goes back to the beginning of a terminal's line, and clears it."""
Items = Iterator[tuple[str, bytes]]
Keep = Callable[[str, bytes], None]


class Stop(Exception):
    """It cannot go on; the text says why."""


class Progress:
    """What is done, on one line of the terminal; nothing where standard error is something else."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = self.failed = 0
        self.began = self.shown = time.monotonic()

    def add(self, *, failed: bool) -> None:
        """Count an item."""
        self.done += 1
        self.failed += failed
        if time.monotonic() - self.shown > 0.2:
            self.show()

    def show(self) -> None:
        """Write the line anew."""
        self.shown = time.monotonic()
        if sys.stderr.isatty():
            of = f" of {self.total}" if self.total else ""
            print(f"{CLEAR}{self.done}{of} done, {self.rate:.1f}/s, {self.failed} failed", end="", file=sys.stderr)

    def say(self, line: str) -> None:
        """Write a line that stays."""
        print(CLEAR + line if sys.stderr.isatty() else line, file=sys.stderr)

    @property
    def rate(self) -> float:
        """Items a second."""
        return self.done / max(1e-9, time.monotonic() - self.began)


async def blur(url: str, token: str | None, items: Items, keep: Keep, progress: Progress) -> None:
    """Send all items, and keep what comes back under the same names."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.ws_connect(url, max_msg_size=0) as socket,
        ):
            await converse(socket, items, keep, progress)
    except aiohttp.WSServerHandshakeError as error:
        raise Stop(REFUSED.get(error.status, f"the service answers {error.status}: is {url} right?")) from None
    except aiohttp.InvalidURL:
        raise Stop(f"--url: {url} is not a URL") from None
    except aiohttp.ClientConnectorError as error:
        raise Stop(f"cannot connect to {url}: {reason(error.os_error)}; does the service run there?") from None


def reason(error: OSError) -> str:
    """Return why a connection failed, in the system's words where it has some."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


async def converse(socket: aiohttp.ClientWebSocketResponse, items: Items, keep: Keep, progress: Progress) -> None:
    """Send items as fast as the service takes them, and keep what comes back."""
    under_way: deque[str] = deque()

    async def send() -> None:
        while (item := await asyncio.to_thread(next, items, None)) is not None:
            under_way.append(item[0])
            await socket.send_bytes(item[1])  # returns late where the service takes no more
        await socket.send_json({"event": "end"})

    sending = asyncio.create_task(send())
    try:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                await asyncio.to_thread(keep, under_way.popleft(), message.data)
                progress.add(failed=False)
            elif (event := json.loads(message.data))["event"] == "failed":
                progress.say(f"{under_way.popleft()}: {event['detail']}")
                progress.add(failed=True)
    finally:
        sending.cancel()
        # What stopped it matters only where the service did not: an unreadable picture, say.
        sent = (await asyncio.gather(sending, return_exceptions=True))[0]
    code = socket.close_code
    if code != 1000:
        raise Stop(CLOSED.get(code or 0, f"the connection was closed with {code} before all was done"))
    if isinstance(sent, Exception):
        raise sent


def pictures(paths: list[Path]) -> Items:
    """Yield pictures with their names."""
    for path in paths:
        yield path.name, path.read_bytes()


def jpeg_name(name: str) -> str:
    """Return the name of a result, which is JPEG: two pictures never get the same one."""
    return name if Path(name).suffix.lower() in {".jpg", ".jpeg"} else f"{name}.jpg"


def blur_pictures(options: argparse.Namespace, source: Path, target: Path) -> Progress:
    """Blur a picture, or all of a folder."""
    if source.is_dir():
        paths = found(source)
        prepare(target, source, force=options.force)
    else:
        paths = [source]
    progress = Progress(len(paths))

    def keep(name: str, data: bytes) -> None:
        write(target / jpeg_name(name) if source.is_dir() else target, data)

    asyncio.run(blur(options.url, options.token, pictures(paths), keep, progress))
    return progress


def found(folder: Path) -> list[Path]:
    """Return the pictures of a folder; raises Stop where it has none."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.is_file())
    if not paths:
        raise Stop(f"{folder} has no pictures ({' '.join(sorted(PICTURES))})")
    return paths


def prepare(target: Path, source: Path, *, force: bool) -> None:
    """Make the folder for results."""
    if target.resolve() == source.resolve():
        raise Stop("TO is FROM: name another folder")
    if target.exists() and any(target.iterdir()) and not force:
        raise Stop(f"{target} is not empty: name another folder, or give --force to replace what is in it")
    target.mkdir(parents=True, exist_ok=True)


def write(path: Path, data: bytes) -> None:
    """Write a file that is whole when it has its name."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    partial.replace(path)


class Video:
    """A video that is being written; its size is that of the first frame."""

    def __init__(self, cv2: Any, target: Path, rate: float) -> None:
        self.cv2 = cv2
        self.target = target
        self.partial = target.with_stem(f".{target.stem}.partial")
        self.rate = rate
        self.out: Any = None

    def keep(self, _: str, data: bytes) -> None:
        """Write a frame."""
        import numpy

        pixels = self.cv2.imdecode(numpy.frombuffer(data, numpy.uint8), self.cv2.IMREAD_COLOR)
        if self.out is None:
            height, width = pixels.shape[:2]
            coding = self.cv2.VideoWriter.fourcc(*"mp4v")
            self.out = self.cv2.VideoWriter(str(self.partial), coding, self.rate, (width, height))
            if not self.out.isOpened():
                raise Stop(f"{self.target} cannot be written: look at its folder, and give it a name like out.mp4")
        self.out.write(pixels)

    def close(self, *, whole: bool) -> None:
        """Give it its name, or remove it where it is not whole."""
        if self.out is not None:
            self.out.release()
        if whole and self.out is not None:
            self.partial.replace(self.target)
        else:
            self.partial.unlink(missing_ok=True)


def blur_video(options: argparse.Namespace, source: Path, target: Path) -> Progress:
    """Blur each frame of a video."""
    try:
        import cv2
    except ImportError:
        raise Stop("a video needs OpenCV here: pip install opencv-python-headless") from None
    cv2.utils.logging.setLogLevel(0)
    video = cv2.VideoCapture(str(source))
    progress = Progress(max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT))))
    out = Video(cv2, target, video.get(cv2.CAP_PROP_FPS) or 25.0)
    try:
        if not video.isOpened():
            raise Stop(
                f"{source} is not a video that OpenCV can read, nor a picture ({' '.join(sorted(PICTURES))})"
            )
        asyncio.run(blur(options.url, options.token, frames(cv2, video), out.keep, progress))
        out.close(whole=True)
    finally:
        video.release()
        out.close(whole=False)
    return progress


def frames(cv2: Any, video: Any) -> Items:
    """Yield the frames of an open video as JPEG."""
    number = 0
    while (read := video.read())[0]:
        number += 1
        yield f"frame {number}", bytes(cv2.imencode(".jpg", read[1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1])


def parse() -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(
        prog="faceblur.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exit codes: 0 all is done, 1 something failed, 2 bad usage.\n"
        "Not all faces are found: look at the result.",
    )
    parser.add_argument("source", metavar="FROM", type=Path, help="a picture, a folder of pictures, or a video")
    parser.add_argument(
        "target", metavar="TO", type=Path,
        help="the same, to be made: pictures become JPEG; a video becomes MPEG-4 without sound",
    )  # fmt: skip
    parser.add_argument("--url", default=URL, help="the pipeline (default: %(default)s)")
    parser.add_argument(
        "--token", default=os.environ.get("SLUICE_TOKEN"), help="the service's token (default: SLUICE_TOKEN)"
    )
    parser.add_argument("--force", action="store_true", help="replace what TO has")
    return parser.parse_args()


def carry_out(options: argparse.Namespace) -> Progress:
    """Check what FROM and TO are, and make one of the other."""
    source, target = options.source, options.target
    if not source.exists():
        raise Stop(f"{source} does not exist")
    if source.is_dir():
        if target.exists() and not target.is_dir():
            raise Stop(f"{target} is not a folder: FROM is one, so TO has to be one")
        return blur_pictures(options, source, target)
    if target.is_dir():
        raise Stop(f"{target} is a folder: FROM is a file, so TO has to be one")
    if target.exists() and not options.force:
        raise Stop(f"{target} exists: name another file, or give --force to replace it")
    if not target.absolute().parent.is_dir():
        raise Stop(f"{target.parent} is not a folder: make it first")
    is_picture = source.suffix.lower() in PICTURES
    return (blur_pictures if is_picture else blur_video)(options, source, target)


def main() -> int:
    """Return the exit code."""
    options = parse()
    try:
        progress = carry_out(options)
    except Stop as error:
        print(f"faceblur.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"faceblur.py: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    progress.say(f"{progress.done} done in {progress.done / progress.rate:.1f} s, {progress.failed} failed")
    return bool(progress.failed)


if __name__ == "__main__":
    sys.exit(main())
