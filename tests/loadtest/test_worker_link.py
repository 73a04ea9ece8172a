"""Workers and their supervisor talk in lines of JSON."""

import asyncio

import orjson

from loadtest.worker_link import WorkerLink, read_line


def reader_of(*messages: object, rest: bytes = b"") -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(b"".join(orjson.dumps(message) + b"\n" for message in messages) + rest)
    reader.feed_eof()
    return reader


async def test_a_meeting_brings_what_everyone_has_brought() -> None:
    said: list[bytes] = []
    link = WorkerLink(1, 3, said.append)
    meeting = asyncio.ensure_future(link.meet("begin", 7))
    await asyncio.sleep(0)
    assert orjson.loads(said[0]) == {"meet": ["begin", 7]}
    await link.listen(reader_of({"met": ["other", [0]]}, {"met": ["begin", [5, 7, 6]]}))
    assert await meeting == [5, 7, 6]


async def test_parts_of_a_plan_meet_and_tell_apart() -> None:
    said: list[bytes] = []
    link = WorkerLink(0, 2, said.append)
    one, two = link.part("one"), link.part("two")
    reported: dict[str, object] = {}
    one.on_facts = lambda facts: reported.update(one=facts)
    two.on_facts = lambda facts: reported.update(two=facts)
    one.share([1])
    assert orjson.loads(said[0]) == {"share": ["one", [1]]}
    meetings = [asyncio.ensure_future(part.meet("begin")) for part in (one, two)]
    await asyncio.sleep(0)
    await link.listen(reader_of({"facts": ["two", [2]]}, {"met": ["two begin", [2]]}, {"met": ["one begin", [1]]}))
    assert reported == {"two": [2]}
    assert [await meeting for meeting in meetings] == [[1], [2]]


async def test_a_worker_stops_when_asked_and_when_its_supervisor_is_gone() -> None:
    stops: list[int] = []
    link = WorkerLink(0, 1, lambda line: None)
    link.on_stop = lambda: stops.append(1)
    await link.listen(reader_of({"stop": True}, rest=b'{"cut'))
    assert len(stops) == 2


async def test_a_line_that_is_cut_is_the_end() -> None:
    assert await read_line(reader_of(rest=b'{"a": 1')) is None


async def test_alone_there_is_nobody_to_tell() -> None:
    said: list[bytes] = []
    WorkerLink(0, 1, said.append).share([1])
    assert said == []
