"""JSON Pointers, with RFC 6901's own examples, CSS selectors, and the process that bounds what they cost."""

import asyncio

import pytest

from service.upstream.selecting import SelectFailed, check_select, select_from
from service.upstream.selector import Selector, SelectTimeout

DOCUMENT = rb"""{"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, "k\"l": 6,
" ": 7, "m~n": 8}"""


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/foo", b'["bar","baz"]'), ("/foo/0", b'"bar"'), ("/", b"0"), ("/a~1b", b"1"), ("/c%d", b"2"),
        ("/e^f", b"3"), ("/g|h", b"4"), ("/i\\j", b"5"), ('/k"l', b"6"), ("/ ", b"7"), ("/m~0n", b"8"),
    ],
)  # fmt: skip
def test_the_examples_of_the_rfc(pointer: str, value: bytes) -> None:
    assert check_select(pointer) is None
    assert select_from(DOCUMENT, pointer) == value


@pytest.mark.parametrize("pointer", ["/none", "/foo/2", "/foo/-", "/foo/00", "/foo/-1", "/foo/bar", "/a~1b/c"])
def test_nothing_there(pointer: str) -> None:
    with pytest.raises(SelectFailed):
        select_from(DOCUMENT, pointer)


@pytest.mark.parametrize("body", [b"<p>", b"", b"[" * 5000, b'{"a":' + b"[" * 500 + b"]" * 500 + b"}"])
def test_bodies_that_are_no_json_or_too_deep(body: bytes) -> None:
    with pytest.raises(SelectFailed):
        select_from(body, "/a")


def test_css() -> None:
    page = b"<h1>A <b>b</b></h1><ul><li class=x>1<li>2<li class=x>3</ul>"
    assert select_from(page, "h1") == b"A b"
    assert select_from(page, "li.x") == b"1\n3"
    assert select_from("<p>\u00e4</p>".encode("latin-1"), "p")
    for nothing in (b"", b"<p>", b"\x00\xff" * 100):
        with pytest.raises(SelectFailed):
            select_from(nothing, "h1")


@pytest.mark.parametrize("select", ["div[", "!!", ":nope(", "~", "/a~2", "a " * 400 + "["])
def test_what_is_no_selection(select: str) -> None:
    assert check_select(select)


def on_a_real_clock(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]


def test_the_process_selects_and_survives_what_it_cannot() -> None:
    async def run() -> None:
        selector = Selector()
        try:
            assert await selector.select(DOCUMENT, "/foo/0") == b'"bar"'
            with pytest.raises(SelectFailed, match="no element"):
                await selector.select(b"<p>", "h1")
            answers = await asyncio.gather(*(selector.select(b"[%d]" % n, "/0") for n in range(50)))
            assert answers == [b"%d" % n for n in range(50)]
            with pytest.raises(SelectTimeout):
                await selector.select(b"<p>a</p>" * 120_000, "p ~ p ~ p")
            assert await selector.select(b"<h1>on</h1>", "h1") == b"on"
        finally:
            await selector.close()

    on_a_real_clock(run())


def test_cancelling_a_selection_leaves_no_process() -> None:
    async def run() -> None:
        selector = Selector()
        task = asyncio.create_task(selector.select(b"<p>a</p>" * 120_000, "p ~ p ~ p"))
        while selector._process is None:
            await asyncio.sleep(0.01)
        process = selector._process
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert process.returncode is not None
        await selector.close()

    on_a_real_clock(run())


def test_a_process_that_has_nothing_to_do_ends() -> None:
    async def run() -> None:
        selector = Selector()
        assert await selector.select(b"[1]", "/0") == b"1"
        process = selector._process
        assert process is not None
        selector._dismiss()
        assert await asyncio.wait_for(process.wait(), 10) == 0
        assert await selector.select(b"[2]", "/0") == b"2"
        await selector.close()

    on_a_real_clock(run())
