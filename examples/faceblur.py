"""Blur the faces of all pictures of a folder, or of a video: python faceblur.py FROM TO [URL].

The service needs the extra ``vision``; a video needs OpenCV here, too. Frames go over one WebSocket, as many at a
time as the service takes, and come back in order.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp

URL = "http://127.0.0.1:8080/pipelines/faceblur"
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


def pictures(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures of a folder."""
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in PICTURES:
            yield path.name, path.read_bytes()


def frames(video: Any) -> Iterator[tuple[str, bytes]]:
    """Yield the frames of an open video as JPEG."""
    import cv2

    number = 0
    while (read := video.read())[0]:
        number += 1
        yield f"frame {number}", bytes(cv2.imencode(".jpg", read[1])[1])


async def blur(url: str, items: Iterator[tuple[str, bytes]], keep: Callable[[str, bytes], None]) -> int:
    """Send all items, and keep what comes back under the same names; return how many failed."""
    names: list[str] = []
    failed = 0
    async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as socket:

        async def send() -> None:
            for name, data in items:
                names.append(name)
                await socket.send_bytes(data)
            await socket.send_json({"event": "end"})

        async with asyncio.TaskGroup() as group:
            sending = group.create_task(send())
            at = 0
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    keep(names[at], message.data)
                    at += 1
                elif (event := json.loads(message.data))["event"] == "failed":
                    print(f"{names[at]}: {event['detail']}", file=sys.stderr)
                    failed += 1
                    at += 1
            sending.cancel()
        if socket.close_code != 1000:
            raise SystemExit(f"the connection was closed with {socket.close_code}")
    return failed


def main() -> int:
    """Blur a folder into a folder, or a video into a video."""
    if len(sys.argv) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    url = sys.argv[3] if len(sys.argv) == 4 else URL
    if source.is_dir():
        target.mkdir(exist_ok=True)
        return bool(asyncio.run(blur(url, pictures(source), lambda name, data: save(target, name, data))))
    return blur_video(url, source, target)


def save(folder: Path, name: str, data: bytes) -> None:
    """Write a picture, which is JPEG now."""
    (folder / name).with_suffix(".jpg").write_bytes(data)


def blur_video(url: str, source: Path, target: Path) -> int:
    """Blur each frame of a video."""
    import cv2
    import numpy

    video = cv2.VideoCapture(str(source))
    size = tuple(int(video.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    out = cv2.VideoWriter(str(target), cv2.VideoWriter.fourcc(*"mp4v"), video.get(cv2.CAP_PROP_FPS) or 25.0, size)
    try:
        keep = lambda _, data: out.write(cv2.imdecode(numpy.frombuffer(data, numpy.uint8), cv2.IMREAD_COLOR))  # noqa: E731
        return bool(asyncio.run(blur(url, frames(video), keep)))
    finally:
        out.release()
        video.release()


if __name__ == "__main__":
    sys.exit(main())
