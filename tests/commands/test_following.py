"""How ``sluice job follow`` goes on after cuts: with a scripted service, and a clock that only sleeps move."""

import io
from argparse import Namespace
from collections.abc import Iterator
from email.message import Message
from http.client import IncompleteRead
from typing import Any
from urllib.error import HTTPError

import orjson
import pytest

from service.commands.job import following
from service.commands.job.following import events_of
from service.commands.job.requests import RequestFailed

QUEUED, STARTED, DONE = {"event": "queued"}, {"event": "started"}, {"event": "done"}
HEARTBEAT = {"event": "heartbeat"}
OPTIONS = Namespace(url="http://service.example")


class Answer:
    """The events of one answer, and how it ends: whole, or with an error."""

    def __init__(self, *events: Any, ends: Exception | None = None, epoch: str = "e/1") -> None:
        self.events, self.ends, self.headers = events, ends, {"Sluice-Epoch": epoch} if epoch else {}
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for event in self.events:
            yield event if isinstance(event, bytes) else orjson.dumps(event)
        if self.ends is not None:
            raise self.ends

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True


class Service:
    """Gives its answers one after another; the last one again and again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[Any] = []
        self.asked: list[str] = []
        self.now = 0.0
        monkeypatch.setattr(following, "open_answer", self.open)
        monkeypatch.setattr("service.commands.job.following.time", self)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def open(self, options: Namespace, method: str, path: str) -> Any:
        self.asked.append(path)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def events(self) -> list[str]:
        return [event["event"] for event in events_of(OPTIONS, "1-00")]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    return Service(monkeypatch)


def refused(status: int) -> HTTPError:
    return HTTPError("http://service.example", status, "no", Message(), io.BytesIO(b"{}"))


def test_a_run_is_followed_to_its_last_event_and_heartbeats_are_left_out(service: Service) -> None:
    service.answers = [answer := Answer(QUEUED, HEARTBEAT, STARTED, DONE)]
    assert service.events() == ["queued", "started", "done"]
    assert (service.asked, answer.closed) == (["/jobs/1-00/events"], True)


@pytest.mark.parametrize("ends", [None, ConnectionResetError(), IncompleteRead(b""), TimeoutError()])
def test_after_a_cut_it_asks_for_what_follows(service: Service, ends: Exception | None) -> None:
    service.answers = [Answer(QUEUED, STARTED, ends=ends), Answer(DONE)]
    assert service.events() == ["queued", "started", "done"]
    assert service.asked[1] == "/jobs/1-00/events?since=e%2F1:2"


def test_a_line_that_was_cut_is_not_an_event(service: Service) -> None:
    service.answers = [Answer(QUEUED, b'{"event":"do'), Answer(STARTED, DONE)]
    assert service.events() == ["queued", "started", "done"]
    assert service.asked[1].endswith(":1")


def test_after_a_gap_it_goes_on_behind_it(service: Service) -> None:
    service.answers = [Answer({"event": "gap", "from": 1, "to": 7}, ends=OSError()), Answer(DONE)]
    assert service.events() == ["gap", "done"]
    assert service.asked[1].endswith(":7")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_service_that_starts_again_is_waited_for_and_that_is_said_once(
    service: Service, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    gone: list[Any] = [OSError(), refused(status), OSError()]
    service.answers = [Answer(QUEUED, ends=OSError()), *gone, Answer(DONE)]
    assert service.events() == ["queued", "done"]
    assert capsys.readouterr().err == "sluice job: the service has gone; waiting for it to come back\n"


def test_one_that_does_not_come_back_is_given_up(service: Service) -> None:
    service.answers = [Answer(QUEUED, ends=OSError()), OSError()]
    with pytest.raises(RequestFailed, match="not come back for 60 s; sluice job follow 1-00"):
        service.events()
    assert 60 < service.now < 62


@pytest.mark.parametrize("status", [401, 404])
def test_a_refusal_that_lasts_ends_it_at_once(service: Service, status: int) -> None:
    service.answers = [Answer(QUEUED, ends=OSError()), refused(status)]
    with pytest.raises(HTTPError):
        service.events()
    assert len(service.asked) == 2


@pytest.mark.parametrize("first", [OSError("refused"), refused(503)])
def test_what_the_first_request_meets_is_not_waited_for(service: Service, first: Exception) -> None:
    service.answers = [first]
    with pytest.raises(type(first)):
        service.events()
    assert service.now == 0


def test_another_server_is_named(service: Service) -> None:
    service.answers = [answer := Answer(QUEUED, epoch="")]
    with pytest.raises(RequestFailed, match="not sluice"):
        service.events()
    assert answer.closed
