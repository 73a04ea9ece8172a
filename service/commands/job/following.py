"""The events of a job, up to the last one of its run, through cuts and restarts of the service."""

import sys
import time
from argparse import Namespace
from collections.abc import Generator, Iterator
from http.client import HTTPException, HTTPResponse
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote

import orjson

from service.commands.job.requests import RequestFailed, open_answer, path_of

__all__ = ["LAST", "events_of"]

LAST: Final = ("done", "failed", "cancelled")
_BACK: Final = 60.0
"""Seconds in which the service may come back."""
_PAUSE: Final = 0.5
"""Seconds between two tries."""
_PASSING: Final = (408, 425, 429, 500, 502, 503, 504)


class _Place:
    """How far the events have come."""

    def __init__(self) -> None:
        self.epoch = ""
        self.offset = 0
        self.last = ""
        self.heard = time.monotonic()

    @property
    def ended(self) -> bool:
        return self.last in LAST

    def since(self) -> str:
        return f"?since={quote(self.epoch, safe='')}:{self.offset}" if self.epoch else ""

    def note(self, event: dict[str, Any]) -> None:
        self.offset = event["to"] if event["event"] == "gap" else self.offset + 1
        self.last = event["event"]


def events_of(options: Namespace, job: str) -> Iterator[dict[str, Any]]:
    """Yield events; raises RequestFailed, and for the first request HTTPError, OSError, HTTPException."""
    place = _Place()
    path = f"{path_of(job)}/events"
    away = False
    while True:
        answer = _opened(options, path, place)
        if answer is None and not away:
            sys.stderr.write("sluice job: the service has gone; waiting for it to come back\n")
        away = answer is None
        if answer is not None:
            with answer:
                # A proxy may complete an answer that the service has cut.
                if (yield from _read(answer, place)) and place.ended:
                    return
        if time.monotonic() - place.heard > _BACK:
            raise RequestFailed(
                f"the service has not come back for {_BACK:g} s; sluice job follow {job} goes on from the start"
            )
        time.sleep(_PAUSE)


def _opened(options: Namespace, path: str, place: _Place) -> HTTPResponse | None:
    """Ask for what comes next; None where the service may come back."""
    try:
        answer = open_answer(options, "GET", path + place.since())
    except HTTPError as error:
        if not place.epoch or error.code not in _PASSING:
            raise
        error.close()
        return None
    except (OSError, HTTPException):
        if not place.epoch:
            raise
        return None
    place.epoch = answer.headers.get("Sluice-Epoch", "")
    if not place.epoch:
        answer.close()
        raise RequestFailed("the server there is not sluice")
    return answer


def _read(answer: HTTPResponse, place: _Place) -> Generator[dict[str, Any], None, bool]:
    """Yield the events of one answer; return whether it is complete."""
    try:
        for line in answer:
            event: dict[str, Any] = orjson.loads(line)
            place.heard = time.monotonic()
            if event["event"] != "heartbeat":
                place.note(event)
                yield event
    except (OSError, HTTPException, ValueError):
        return False
    return True
