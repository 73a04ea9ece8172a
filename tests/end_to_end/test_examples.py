"""The examples, run as they stand."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.end_to_end.processes import ROOT, origin, program, run, service


async def test_the_python_example_follows_a_batch() -> None:
    async with (
        origin() as upstream,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
    ):
        code, out, err = await run(
            sys.executable, str(ROOT / "examples" / "client.py"), server.url,
            f"{upstream.url}/bytes/5", "http://127.0.0.1:1/", env={"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    assert code == 0, err
    assert sorted(line.split()[0] for line in out.splitlines()) == ["done", "failed", "result"]
    assert out.splitlines()[-1].startswith("done")


async def test_the_script_for_faces_blurs_folders_and_videos_and_says_what_is_missing(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="the extra vision is not installed")
    numpy = pytest.importorskip("numpy", reason="the extra vision is not installed")
    pixels = numpy.zeros((240, 320, 3), numpy.uint8)
    source, video = tmp_path / "in", tmp_path / "in.mp4"
    source.mkdir()
    for name in ("a.png", "a.jpg"):
        cv2.imwrite(str(source / name), pixels)
    (source / "bad.png").write_bytes(b"no picture")
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"mp4v"), 12.0, (320, 240))
    for _ in range(5):
        writer.write(pixels)
    writer.release()

    async def blur(*arguments: object, url: str) -> tuple[int, str, str]:
        script = ROOT / "examples" / "faceblur.py"
        return await run(sys.executable, str(script), *map(str, arguments), "--url", url)

    async with service() as server:
        url = f"{server.url}/pipelines/faceblur"
        folder, film, other = await asyncio.gather(
            blur(source, tmp_path / "out", url=url),
            blur(video, tmp_path / "out.mp4", url=url),
            blur(source, tmp_path / "other", url=f"{server.url}/pipelines/other"),
        )
        again = await blur(source, tmp_path / "out", url=url)
    assert folder[0] == 1
    assert "bad.png: decode: not a picture" in folder[2]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg", "a.png.jpg"]
    assert film[0] == 0, film[2]
    made = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert (made.get(cv2.CAP_PROP_FRAME_COUNT), made.get(cv2.CAP_PROP_FPS)) == (5, 12)
    made.release()
    assert (other[0], "the service has no such pipeline" in other[2]) == (1, True)
    assert (again[0], "is not empty" in again[2]) == (1, True)
    code, _, err = await blur(video, tmp_path / "more.mp4", url=url)
    assert (code, "Connection refused; does the service run there?" in err) == (1, True)
    assert list(tmp_path.glob("*more*")) == []


async def test_the_javascript_example_publishes_reads_and_fetches() -> None:
    node = program("node", "Debian: nodejs")
    if not Path("/usr/share/nodejs/ws").exists():
        pytest.skip("the package ws is not installed (Debian: node-ws)")
    async with (
        origin() as upstream,
        service("--allow-net", "127.0.0.0/8", "--allow-port", str(upstream.port)) as server,
    ):
        code, out, err = await run(
            node, str(ROOT / "examples" / "client.js"), server.url, f"{upstream.url}/bytes/5", "http://127.0.0.1:1/",
            env={"NODE_PATH": "/usr/share/nodejs"},
        )  # fmt: skip
    assert code == 0, err
    first, *events, done = out.splitlines()
    assert first == 'message 1: {"hello":"world"}'
    assert sorted(event.split()[0] for event in events) == ["failed", "result"]
    assert done.startswith("done")
