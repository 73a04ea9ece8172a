"""Messages are known again whatever a server's JSON looks like; those of other runs are told apart."""

import html
import json
from collections.abc import Callable

import orjson
import pytest

from loadtest.audience import Audience
from loadtest.payloads import FOREIGN, MARKER, Payloads, Unrecognised, payload
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


def test_what_is_no_message_has_no_number() -> None:
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
