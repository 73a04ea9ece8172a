"""Steps on uploaded bodies, and blobs, over HTTP: the whole service."""

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from service.edge.http.file_with_range import FileWithRange
from service.work.step import STEPS, Body, Made, Step, StepFailed
from tests.edge.running import Client, client_of
from tests.edge.test_claims import SECRET, bearer
from tests.threads import start_no_threads


async def ask(client: Client, steps: Any, body: bytes, **headers: str) -> tuple[int, Any]:
    text = steps if isinstance(steps, str) else json.dumps(steps)
    status, answer, _ = await client.ask("POST", f"/steps?steps={quote(text)}", data=body, headers=headers)
    return status, answer


async def test_steps_run_on_an_uploaded_body_of_any_type(tmp_path: Path) -> None:
    async with client_of(blobs=str(tmp_path)) as client:
        sha256 = hashlib.sha256(b"abc").hexdigest()
        status, answer = await ask(
            client, [{"step": "digest"}, {"step": "save"}], b"abc", **{"Content-Type": "a/B; c=d"}
        )
    assert (status, answer) == (200, {"steps": [
        {"step": "digest", "algorithm": "sha256", "hex": sha256, "bytes": 3},
        {"step": "save", "blob": f"/blobs/{sha256}", "sha256": sha256, "bytes": 3, "type": "a/b"},
    ]})  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "says"),
    [("", "steps: "), ("[", "steps: "), ("{}", "steps: is a list"), ('[{"step":"no"}]', r"steps[0].step: 'no'"),
     ('[{"step":"save"}]', "save needs --blobs DIR")],
)  # fmt: skip
async def test_a_list_that_does_not_fit_is_422(steps: str, says: str) -> None:
    async with client_of() as client:
        status, problem = await ask(client, steps, b"abc")
    assert (status, problem["reason"]) == (422, "invalid_params")
    assert says in problem["detail"]


async def test_a_body_that_a_step_cannot_process_is_422_and_says_what_went_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Nothing(msgspec.Struct):
        pass

    def refuse(body: Body, parameters: Nothing) -> Made:
        raise StepFailed("not this one")

    monkeypatch.setitem(STEPS, "refuse", Step("refuse", Nothing, "thread", refuse))
    async with client_of() as client:
        status, problem = await ask(client, [{"step": "digest"}, {"step": "refuse"}, {"step": "digest"}], b"abc")
    assert (status, problem["reason"], problem["step"]) == (422, "step_failed", "refuse")
    assert problem["detail"] == "refuse: not this one"
    assert [one["step"] for one in problem["steps"]] == ["digest"]


async def test_a_disk_that_is_full_is_503_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with client_of(blobs=str(tmp_path)) as client:
        monkeypatch.setattr("service.work.blob_files.os.fsync", full)
        status, problem = await ask(client, [{"step": "digest"}, {"step": "save"}], b"abc")
    assert (status, problem["reason"], problem["temporary"]) == (503, "storage", True)
    assert problem["detail"] == "save: storage: No space left on device"
    assert (problem["step"], [one["step"] for one in problem["steps"]]) == ("save", ["digest"])


async def test_the_list_of_steps_has_their_schemas() -> None:
    async with client_of() as client:
        status, answer, _ = await client.ask("GET", "/steps")
    assert status == 200
    found = {one["name"]: one for one in answer["steps"]}
    assert found["digest"]["runs"] == "thread"
    assert found["thumbnail"]["parameters"]["properties"]["fit"]["enum"] == ["cover", "exact", "inside"]


async def test_a_blob_is_an_attachment_of_its_type_with_ranges(tmp_path: Path) -> None:
    async with client_of(blobs=str(tmp_path)) as client:
        _, saved = await ask(
            client, [{"step": "save"}], b"<script>", **{"Content-Type": "text/html; charset=utf-8"}
        )
        path = saved["steps"][0]["blob"]
        status, body, response = await client.ask("GET", path)
        assert (status, body) == (200, b"<script>")
        assert response.headers["Content-Type"] == "text/html"
        assert response.headers["Content-Disposition"].startswith("attachment")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        tag = response.headers["ETag"]
        status, body, response = await client.ask("GET", path, headers={"Range": "bytes=1-3"})
        assert (status, body, response.headers["Content-Range"]) == (206, b"scr", "bytes 1-3/8")
        status, body, response = await client.ask("GET", path, headers={"Range": "bytes=100-"})
        assert (status, body["reason"]) == (416, "requested_range_not_satisfiable")
        assert response.headers["Content-Range"] == "bytes */8"
        assert "Cache-Control" not in response.headers
        status, body, response = await client.ask("GET", path, headers={"If-Match": '"other"'})
        assert (status, body["reason"], response.headers.get("Cache-Control")) == (412, "precondition_failed", None)
        for given, wanted in ((tag, 206), (f"W/{tag}", 200), ('"other"', 200), ("x", 206)):
            headers = {"Range": "bytes=1-3", "If-Range": given}
            assert (await client.ask("GET", path, headers=headers))[0] == wanted, given
        status, _, _ = await client.ask("GET", path, headers={"If-None-Match": tag})
        assert status == 304
        status, body, _ = await client.ask("HEAD", path)
        assert (status, body) == (200, b"")


async def test_where_no_thread_can_be_started_a_blob_is_503(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(blobs=str(tmp_path)) as client:
        _, saved = await ask(client, [{"step": "save"}], b"abc")
        with monkeypatch.context() as patch:
            start_no_threads(patch)
            status, problem, _ = await client.ask("GET", saved["steps"][0]["blob"])
        assert (status, problem["reason"], problem["temporary"]) == (503, "overloaded", True)
        assert (await client.ask("GET", saved["steps"][0]["blob"]))[:2] == (200, b"abc")


async def test_one_range_of_a_blob_is_sent_and_other_kinds_of_ranges_are_ignored(tmp_path: Path) -> None:
    whole, none = (200, b"abcdefghij", None), (416, 416, "bytes */10")
    cases = {
        "bytes=0-0": (206, b"a", "bytes 0-0/10"),
        "Bytes=8-20": (206, b"ij", "bytes 8-9/10"),
        "bytes=7-": (206, b"hij", "bytes 7-9/10"),
        "bytes=-3": (206, b"hij", "bytes 7-9/10"),
        "bytes=-99": (206, b"abcdefghij", "bytes 0-9/10"),
        "bytes=10-": none,
        "bytes=-0": none,
        "bytes=0-1,3-4": whole,
        "bytes=5-2": whole,
        "bytes=-": whole,
        "bytes=abc": whole,
        "lines=1-2": whole,
        "bytes=0-" + "9" * 5000: whole,
    }
    async with client_of(blobs=str(tmp_path)) as client:
        _, answer = await ask(client, [{"step": "save"}], b"abcdefghij")
        for asked, wanted in cases.items():
            status, body, response = await client.ask("GET", answer["steps"][0]["blob"], headers={"Range": asked})
            found = body["status"] if status == 416 else body
            assert (status, found, response.headers.get("Content-Range")) == wanted, asked


@pytest.mark.parametrize(
    "path", ["/blobs/" + "0" * 64, "/blobs/../lock", "/blobs/%2e%2e%2flock", "/blobs/" + "A" * 64]
)
async def test_what_is_not_a_blob_is_404(tmp_path: Path, path: str) -> None:
    async with client_of(blobs=str(tmp_path)) as client:
        assert (await client.ask("GET", path))[0] == 404
    async with client_of() as client:
        assert (await client.ask("GET", path))[0] == 404


async def test_a_blob_whose_file_was_removed_is_404_until_it_is_saved_again(tmp_path: Path) -> None:
    async with client_of(blobs=str(tmp_path)) as client:
        path = f"/blobs/{hashlib.sha256(b'abc').hexdigest()}"
        for _ in range(2):
            await ask(client, [{"step": "save"}], b"abc")
            assert (await client.ask("GET", path))[0] == 200
            [file] = tmp_path.glob("ba/*")
            file.unlink()
            status, problem, _ = await client.ask("GET", path)
            assert (status, problem["reason"]) == (404, "not_found")


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-1", "If-Range": '"tag"'}])
async def test_a_blob_that_goes_meanwhile_is_404(tmp_path: Path, headers: dict[str, str]) -> None:
    with pytest.raises(web.HTTPNotFound):
        await FileWithRange(tmp_path / "gone", {}).prepare(make_mocked_request("GET", "/", headers=headers))


async def test_who_may_not_fetch_may_not_run_steps_nor_read_blobs(tmp_path: Path) -> None:
    async with client_of(blobs=str(tmp_path), jwt_secret=SECRET) as client:
        allowed, other = bearer(sub="a", fetch=True), bearer(sub="b", fetch=False)
        status, saved = await ask(client, [{"step": "save"}], b"abc", **allowed)
        assert status == 200
        path = saved["steps"][0]["blob"]
        assert (await ask(client, [{"step": "save"}], b"abc", **other))[0] == 403
        assert (await client.ask("GET", path, headers=other))[0] == 403
        assert (await client.ask("GET", path, headers=allowed))[0] == 200
        assert (await client.ask("GET", path))[0] == 401


async def test_a_body_that_is_too_large_is_refused() -> None:
    async with client_of(batch_size=1024) as client:
        assert (await ask(client, [{"step": "digest"}], bytes(2000)))[0] == 413
