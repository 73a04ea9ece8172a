"""The step count: its parameters, its patterns in linear time and by Python's own module, and what it makes."""

import bz2
import gzip
import re
from typing import Any

import msgspec
import pytest

from service.core.errors import InvalidParams
from service.work import patterns
from service.work.builtin.count import Count, count, summary_of
from service.work.opening import import_steps
from service.work.patterns import compile_pattern
from service.work.step import Body, StepFailed, plan
from tests.work.file_counts.frames import zstd_frame

import_steps()
LOG = b"1.1.1.1 GET /a\n2.2.2.2 GET /\n\n1.1.1.1 GET /a\n"


@pytest.fixture(params=[True, False], ids=["re2", "re"])
def linear(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Whether google-re2 is installed."""
    if request.param:
        pytest.importorskip("re2")
    else:
        monkeypatch.setattr(patterns, "find_spec", lambda name: None)
    compile_pattern.cache_clear()
    yield request.param
    compile_pattern.cache_clear()


@pytest.mark.parametrize(
    ("parameters", "top"),
    [
        ({"field": 1}, [("1.1.1.1", 2), ("2.2.2.2", 1)]),
        ({"field": 3, "top": 1}, [("/a", 2)]),
        ({"field": 2, "separator": " GET "}, [("/a", 2), ("/", 1)]),
        ({"regex": r"GET (\S+)"}, [("/a", 2), ("/", 1)]),
        ({"regex": r"^(\d+)\."}, [("1", 2), ("2", 1)]),
    ],
)
def test_keys_are_counted(linear: bool, parameters: dict[str, Any], top: list[tuple[str, int]]) -> None:
    planned = plan([{"step": "count", **parameters}], blobs=False)
    made = count(Body(memoryview(LOG), None, ""), Count(**parameters))
    assert made.fields == {"lines": 4, "keys": 2}
    counts = summary_of(planned, made.tally)
    assert [(one["key"], one["count"]) for one in counts["top"]] == top
    assert (counts["lines"], counts["skipped"], counts["exact"]) == (4, 1, True)


@pytest.mark.parametrize(
    "packed", [gzip.compress(LOG, mtime=0) + gzip.compress(LOG, mtime=0), zstd_frame(LOG + LOG)]
)
def test_what_a_compressed_body_holds_is_counted(packed: bytes) -> None:
    made = count(Body(memoryview(packed), "application/octet-stream", ""), Count(field=1))
    assert made.fields == {"lines": 8, "keys": 2}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (gzip.compress(LOG, mtime=0)[:-9], "the body is cut off: the end of its compressed data is missing"),
        (gzip.compress(LOG, mtime=0)[:20] + b"x" * 30, "the body is damaged: "),
        (bz2.compress(LOG), "the body is compressed with bzip2, which cannot be counted$"),
        (LOG.decode().encode("utf-16"), "the body is UTF-16, which cannot be counted$"),
    ],
)
def test_a_body_that_cannot_be_read_to_its_end_fails(body: bytes, says: str) -> None:
    with pytest.raises(StepFailed, match=says):
        count(Body(memoryview(body), "text/plain", ""), Count(field=1))


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({}, "give one of field and regex"), ({"field": 1, "regex": "(a)"}, "give one of field and regex"),
        ({"field": 0}, "field"), ({"field": 1.5}, "field"), ({"field": 1, "top": 0}, "top"),
        ({"field": 1, "separator": ""}, "separator"), ({"field": 1, "separator": "a\nb"}, "separator"),
        ({"regex": "(a)", "separator": ","}, "separator"), ({"regex": "("}, "regex"), ({"regex": "a"}, "0 groups"),
        ({"regex": "(a)(b)"}, "2 groups"), ({"regex": "(a" + "a" * 1000 + ")"}, "regex"), ({"regex": "*(a)"}, "regex"),
    ],
)  # fmt: skip
def test_parameters_that_do_not_fit_are_refused(linear: bool, parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidParams, match=r"^steps\[0\]: .*" + re.escape(says)):
        plan([{"step": "count", **parameters}], blobs=False)


def test_a_whole_number_may_be_written_as_a_float() -> None:
    (planned,) = plan([{"step": "count", "field": 2.0}], blobs=False)
    assert planned.parameters == Count(field=2)


def test_a_pattern_that_backtracks_takes_linear_time_with_re2() -> None:
    pytest.importorskip("re2")
    compile_pattern.cache_clear()
    made = count(Body(b"a" * 100_000 + b"b\n", None, ""), Count(regex="^((?:a+)+)$"))
    assert made.fields == {"lines": 1, "keys": 0}


def test_both_match_bytes(linear: bool) -> None:
    made = count(Body(b"\xff\xc3\xa4\n", None, ""), Count(regex="^.(.*)$"))
    assert summary_of((), made.tally)["top"] == [{"key": "ä", "count": 1}]


def test_parameters_survive_the_way_to_a_process() -> None:
    parameters = Count(regex="(a)", top=3)
    assert msgspec.json.decode(msgspec.json.encode(parameters), type=Count) == parameters


def test_a_byte_order_mark_is_not_part_of_a_key() -> None:
    made = count(Body(memoryview(b"\xef\xbb\xbfa\na\n"), None, ""), Count(field=1))
    assert made.fields == {"lines": 2, "keys": 1}
