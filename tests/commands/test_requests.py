"""What ``sluice job`` sends, and what it makes of answers that are not the service's."""

import io
from argparse import Namespace
from email.message import Message
from http.client import IncompleteRead
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from service.commands.job import requests
from service.commands.job.requests import RequestFailed, Wrong, ask, base_of, path_of, refusal


class Opened(io.BytesIO):
    """Keeps the request that it answers."""

    def __init__(self, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(body)
        self.request: Request
        monkeypatch.setattr(requests, "urlopen", self.answer)
        monkeypatch.delenv("SLUICE_URL", raising=False)
        monkeypatch.delenv("SLUICE_TOKEN", raising=False)

    def answer(self, request: Request, timeout: float) -> "Opened":
        assert 0 < timeout <= 60
        self.request = request
        return self


def test_a_request_carries_the_token_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened(b'{"job":"1-0"}', monkeypatch)
    monkeypatch.setenv("SLUICE_TOKEN", "secret")
    assert ask(Namespace(url="https://h.example:8443/"), "POST", "/jobs", {"a": 1}) == {"job": "1-0"}
    sent = opened.request
    assert (sent.full_url, sent.get_method(), sent.data) == ("https://h.example:8443/jobs", "POST", b'{"a":1}')
    assert sent.get_header("Authorization") == "Bearer secret"
    assert sent.get_header("Content-type") == "application/json"


def test_without_a_body_or_token_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Opened(b"[]", monkeypatch)
    assert ask(Namespace(url=None), "GET", "/jobs") == []
    sent = opened.request
    assert (sent.full_url, sent.data) == ("http://127.0.0.1:8080/jobs", None)
    assert not sent.has_header("Authorization")


def test_an_answer_that_is_not_json_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    Opened(b"<html>", monkeypatch)
    with pytest.raises(RequestFailed, match=r"http://h\.example: the server there is not sluice"):
        ask(Namespace(url="http://h.example"), "GET", "/jobs")


@pytest.mark.parametrize(
    "url",
    ["h.example", "ftp://h.example", "http://", "http://h:0", "http://h:99999", "http://h\n", "http://hö", "//h"],
)
def test_a_url_that_is_not_one_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for options, variable in ((Namespace(url=url), ""), (Namespace(url=None), url)):
        monkeypatch.setenv("SLUICE_URL", variable)
        with pytest.raises(Wrong, match="--url"):
            base_of(options)


@pytest.mark.parametrize("token", ["a b\n", "ü", "a\x00"])
def test_a_token_that_no_header_can_have_is_refused(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    Opened(b"{}", monkeypatch)
    monkeypatch.setattr("os.environ", {"SLUICE_TOKEN": token})
    with pytest.raises(Wrong, match="SLUICE_TOKEN"):
        ask(Namespace(url=None), "GET", "/jobs")


@pytest.mark.parametrize("value", [float("nan"), 1 << 70, object(), {"\ud800": 1}])
def test_what_json_has_no_form_for_is_refused(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    opened = Opened(b"{}", monkeypatch)
    if isinstance(value, float):  # orjson writes null
        ask(Namespace(url=None), "POST", "/jobs", value)
        assert opened.request.data == b"null"
    else:
        with pytest.raises(Wrong, match="as JSON"):
            ask(Namespace(url=None), "POST", "/jobs", value)


def test_an_id_is_one_part_of_a_path() -> None:
    assert path_of("a/../b?c") == "/jobs/a%2F..%2Fb%3Fc"
    for wrong in ("", "ü", "a\n"):
        with pytest.raises(Wrong, match="is not the id of a job"):
            path_of(wrong)


class Broken(io.BytesIO):
    """A body that breaks off."""

    def read(self, size: int | None = -1) -> bytes:
        raise IncompleteRead(b"")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (io.BytesIO(b'{"detail":"it does not exist"}'), "it does not exist (404)"),
        (io.BytesIO(b"<html>"), "HTTP status 404"),
        (io.BytesIO(b"[]"), "HTTP status 404"),
        (io.BytesIO(b"{}"), "HTTP status 404"),
        (Broken(), "HTTP status 404"),
    ],
)
def test_a_refusal_is_one_line_in_any_shape_that_it_comes_in(body: io.BytesIO, text: str) -> None:
    assert refusal(HTTPError("http://h.example", 404, "no", Message(), body)) == text
