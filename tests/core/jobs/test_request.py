"""What may be asked of a job."""

from typing import Any

import pytest

from service.core.errors import InvalidParams, TooLarge
from service.core.jobs.request import CallWork, FetchWork, JobRequest, PublishWork, RunWork, check_size, kind_of
from service.core.parsing import convert

CALL = {"url": "http://a.example/"}


def asked(**fields: Any) -> JobRequest:
    return convert(fields, JobRequest)


def test_the_one_kind_of_work_is_found() -> None:
    assert kind_of(asked(call=CALL)) == ("call", CallWork("http://a.example/"))
    assert kind_of(asked(publish={"topic": "a", "data": 1})) == ("publish", PublishWork("a", 1))
    assert kind_of(asked(fetch={"urls": ["x"]})) == ("fetch", FetchWork(["x"]))
    assert kind_of(asked(run={"name": "f", "args": [1]})) == ("run", RunWork("f", [1]))
    assert kind_of(asked(call=CALL, key="order 17, ~"))[0] == "call"
    assert kind_of(asked(run={"name": "f"}, key="ключ\n"))[0] == "run"
    assert asked(call=CALL).call == CallWork(CALL["url"], "POST", {}, None)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "exactly one"),
        ({"call": CALL, "run": {"name": "f"}}, "exactly one"),
        ({"call": {}}, "call"),
        ({"call": {**CALL, "method": "TRACE"}}, "call.method"),
        ({"call": {**CALL, "method": "GET", "body": 1}}, "call.body"),
        ({"call": {**CALL, "headers": {"a b": "c"}}}, "call.headers"),
        *(
            ({"call": CALL, "key": key}, "key: a call")
            for key in ("a\r\nX: 1", "\x00", "é", "ключ", " a", "a ", "\x7f")
        ),
        ({"fetch": {}}, "fetch.urls"),
        ({"fetch": {"urls": []}}, "fetch.urls"),
        ({"fetch": {"urls": ["a"], "requests": [CALL]}}, "fetch.urls"),
        ({"fetch": {"urls": ["a"], "options": {"colour": 1}}}, "colour"),
        ({"run": {"name": ""}}, "run.name"),
        ({"publish": {"topic": "a", "data": 1}, "delay": -1}, "delay"),
        ({"publish": {"topic": "a", "data": 1}, "retries": 101}, "retries"),
        ({"publish": {"topic": "a", "data": 1}, "retires": 1}, "retires"),
        ({"publish": {"topic": "a", "data": 1}, "key": ""}, "key"),
        ({"publish": {"topic": "a", "data": 1}, "keep": 0}, "keep"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidParams, match=named):
        kind_of(asked(**fields))


def test_whole_numbers_may_have_a_point_and_what_is_passed_on_keeps_its_own() -> None:
    request = asked(retries=2.0, publish={"topic": "a", "data": {"n": 2.0}})
    assert (request.retries, request.publish) == (2, PublishWork("a", {"n": 2.0}))
    assert request.publish is not None
    assert isinstance(request.publish.data["n"], float)
    fetch = asked(fetch={"urls": ["x"], "options": {"retries": 3.0}}).fetch
    assert fetch is not None
    assert fetch.options.retries == 3


def test_a_job_has_a_largest_size() -> None:
    check_size(10, 10)
    with pytest.raises(TooLarge, match="limit job: 11 of at most 10"):
        check_size(11, 10)
