"""Messages are recognised in any JSON that a server makes of them; those of other runs are kept apart."""

import base64
import html
import json
from collections.abc import Callable

import orjson
import pytest

from loadtest.audience import Audience
from loadtest.payloads import FOREIGN, MARKER, Payloads, Unrecognised, payload
from loadtest.recognition import finder
from loadtest.sequences import first_of
from loadtest.tally import Tally

RUN, OTHER = "0123abcd", "ffff0000"


def spaced(data: bytes) -> str:
    return json.dumps({"text": json.loads(data)}, indent=2)


def sorted_keys(data: bytes) -> str:
    return json.dumps(json.loads(data), sort_keys=True)


def as_text(data: bytes) -> str:
    return json.dumps({"body": data.decode()})


def as_text_twice(data: bytes) -> str:
    return json.dumps([json.dumps([data.decode()])])


def in_html(data: bytes) -> str:
    return html.escape(data.decode())


def unicode_escaped(data: bytes) -> str:
    return as_text(data).replace('\\"', "\\u0022")


def beside_a_number_of_its_own(data: bytes) -> str:
    return '{"n":99,"id":"12345678-1234-5678-1234-567812345678","text":' + data.decode() + "}"


WRITINGS: list[Callable[[bytes], str]] = [
    bytes.decode, spaced, sorted_keys, as_text, as_text_twice, in_html, unicode_escaped, beside_a_number_of_its_own,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITINGS)
def test_a_message_is_known_however_it_is_written(write: Callable[[bytes], str]) -> None:
    payloads = Payloads(MARKER, run=RUN, since=100.0)
    assert payloads.number(write(payload(RUN, 17, 200.0, 150)).encode()) == 17
    assert payloads.number(write(payload(OTHER, 17, 200.0, 150)).encode()) == FOREIGN


@pytest.mark.parametrize("write", WRITINGS[:-1])
def test_without_its_word_a_message_is_known_by_n_and_its_age(write: Callable[[bytes], str]) -> None:
    payloads = Payloads(MARKER, run=RUN, since=100.0)

    def without(due: float) -> bytes:
        data = json.loads(payload(RUN, 17, due, 150))
        del data["m"]
        return write(json.dumps(data).encode()).encode()

    assert payloads.number(without(200.0)) == 17
    assert payloads.number(without(99.0)) == FOREIGN


def test_a_number_has_its_sequence() -> None:
    payloads = Payloads(MARKER, run=RUN)
    assert payloads.number(payload(RUN, first_of(3) + 17, 0.0, 0)) == first_of(3) + 17
    assert orjson.loads(payload(RUN, first_of(3) + 17, 0.0, 0))["n"] == 17


def test_the_topic_says_the_sequence_where_the_server_numbers() -> None:
    payloads = Payloads(b'"offset":', run=RUN, topic=b'"topic":')
    payloads.expect('a"b', 2)
    assert payloads.number(b'{"topic" : "a\\"b","offset":5}') == first_of(2) + 5
    assert payloads.number(b'{"topic":"other","offset":5}') == 5


@pytest.mark.parametrize("write", WRITINGS)
def test_only_another_filling_is_an_alteration(write: Callable[[bytes], str]) -> None:
    payloads, data = Payloads(MARKER, run=RUN), payload(RUN, 17, 200.0, 150)
    assert not payloads.compare(write(data).encode(), 17)
    for other in (
        data.replace(b"xxx", b"xx", 1),
        data.replace(b"xxx", b"xyx", 1),
        data.replace(b"xxx", b"xxxx", 1),
    ):
        assert payloads.number(write(other).encode()) == 17
        assert payloads.compare(write(other).encode(), 17)
    assert not payloads.compare(write(payload(RUN, 17, 200.0, 0, '{"a":1}')).encode(), 17)


def test_one_number_of_a_server_has_one_content() -> None:
    payloads = Payloads(b'"offset":', run=RUN)
    assert [payloads.compare(payload(RUN, number, 0.0, 0), 5) for number in (17, 17, 18)] == [False, False, True]


def test_several_messages_in_one_payload_are_all_known() -> None:
    payloads = Payloads(MARKER, run=RUN)
    some = [payload(RUN, number, 200.0, 80) for number in (3, 4, 9)]
    assert payloads.numbers(b"[" + b",".join(some) + b"]") == [3, 4, 9]
    assert payloads.numbers(some[0]) == [3]
    assert payloads.numbers(b"hello") == []


@pytest.mark.parametrize(
    ("place", "data", "number"),
    [
        ("$.data.id", b'{"data":{"id":7}}', 7),
        ("$['data'][1].id", b'{"data":[0,{"id":"7"}]}', 7),
        ("/data/1/a~1b", b'{"data":[0,{"a/b":7}]}', 7),
        ("$[1].id", b'42["say",{"id":7}]', 7),
        ("$.id", b'MESSAGE\n\n{"id":7}\x00', 7),
        ("$.text", b'{"text":"<b>lt-0123abcd-0-7-12</b>"}', 7),
        ("$.text", b'{"text":"lt-ffff0000-0-7-12"}', FOREIGN),
        ("$.text", b'{"text":"' + base64.b64encode(payload(RUN, 7, 1.0, 50)) + b'"}', 7),
        (r"id=(\d+)", b"id=7;n=9", 7),
        (r"(?<=#)\d+", b"message #7", 7),
        ("$.data.id", b'{"data":{"id":true}}', None),
        ("$.data.id", b'{"data":[]}', None),
        ("$.data.id", b"not JSON", None),
        (r"id=(\d+)", b"no", None),
    ],
)  # fmt: skip
def test_a_message_is_known_at_the_place_that_is_named(place: str, data: bytes, number: int | None) -> None:
    assert Payloads(MARKER, run=RUN, found=finder(place)).number(data) == number


def test_invalid_messages_have_no_number() -> None:
    payloads = Payloads(MARKER, run=RUN)
    assert payloads.number(b'{"type":"ping"}') is None
    assert payloads.number(b'{"n":"x"}') is None


def test_numbers_of_the_server_are_found_with_any_spacing() -> None:
    payloads = Payloads(b'"offset":', b"", RUN, 100.0)
    assert payloads.number(b'{"offset" : 5, "data": ' + payload(OTHER, 17, 1.0, 50) + b"}") == 5


@pytest.mark.parametrize("size", [0, 100, 150, 60_000])
def test_the_size_is_about_what_was_asked_for(size: int) -> None:
    data = payload(RUN, 17, 12345.678, size)
    assert orjson.loads(data)["n"] == 17
    assert len(data) == max(size, len(payload(RUN, 17, 12345.678, 0)))


def test_the_first_payload_that_is_not_recognised_is_shown() -> None:
    unrecognised = Unrecognised()
    assert unrecognised.text == ""
    for number in range(1200):
        unrecognised.add(b"x%d" % number)
    assert unrecognised.text == "1,200 payloads not recognised; first: x0"


def test_history_from_before_a_subscription_is_neither_delivered_nor_repeated() -> None:
    tally = Tally()
    audience = Audience("t", tally)
    member = audience.join(0, 11)
    audience.published(11, 0.0)
    member.took(1, 11, 1.0)
    audience.close()
    assert (dict(tally.checks), tally.counters["delivered"], tally.counters["of_others"]) == ({}, 1, 10)


def test_nobody_waits_for_what_was_not_published() -> None:
    tally = Tally()
    audience = Audience("t", tally)
    some = [audience.join(number, 1) for number in range(2)]
    for offset in (1, 3):
        audience.published(offset, 0.0)
    audience.not_published(2)
    some[0].took(1, 1, 1.0)
    some[0].took(3, 1, 1.0)
    audience.close()
    assert tally.checks == {"lost": 2}


def test_a_number_of_the_servers_own_is_not_a_message() -> None:
    payloads = Payloads(MARKER, run=RUN)
    presence = b'{"type":"presence","n":3}'
    payloads.begun = False
    assert payloads.number(presence) is None
    payloads.begin()
    assert payloads.number(presence) == 3
    assert payloads.number(payload(RUN, 1, 200.0, 50)) == 1
    assert payloads.number(presence) is None
