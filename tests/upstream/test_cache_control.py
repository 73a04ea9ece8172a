"""Directives as servers send them: what allows less counts, and what cannot be read allows nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.upstream.caching.cache_control import CacheControl, cache_control, lifetime_of

COMES = 784_111_777.0
DATE = {"date": "Sun, 06 Nov 1994 08:49:37 GMT"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("max-age=60", 60), ("MAX-AGE=60", 60), ("public , Max-Age=60 ,", 60), ("max-age=60,foo=\"a,max-age=1\"", 60),
        ("max-age=0, max-age=60", 0), ("max-age=60, max-age=0", 0), ("max-age=120, max-age=60", 60),
        ("max-age=\"60\"", 0), ("max-age=60.5", 0), ("max-age=-1", 0), ("max-age=", 0), ("max-age", 0), ("max-age=1h", 0),
        ("max-age = 60", 0), ("max-age =60", 0), ("max-age= 60", 0), ("max-age=60, max-age=x", 0), ("max-age=x, max-age=60", 0),
        ("s-maxage=5, max-age=60", 5), ("max-age=60, s-maxage=500", 500), ("s-maxage=x, max-age=60", 0),
        ("s-maxage=60, s-maxage=5", 5), ("max-age=99999999999999", 2**31), ("max-age=60;s-maxage=5", 0),
        ("public", None), ("stale-if-error=60", None), ("x-max-age=60", None), ("public, x=\"; max-age=0\"", None),
        ("public; max-age=60", 0), ("public max-age=0, max-age=60", 0), ("x; s-maxage=0, max-age=60", 0),
        ("max-age: 60", 0), ("max-age 60", 0), ("x=\"y\"; s-maxage=0, max-age=60", 0), ("max-age=60 s-maxage=60", 0),
    ],
)  # fmt: skip
def test_how_long_an_answer_is_fresh(text: str, seconds: float | None) -> None:
    assert lifetime_of({"cache-control": text, **DATE}, COMES) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"expires": "Sun, 06 Nov 1994 08:50:37 GMT", **DATE}, 60),
        ({"expires": "Sun Nov  6 08:50:37 1994", **DATE}, 60),
        # An upstream whose clock is a day ahead.
        ({"expires": "Mon, 07 Nov 1994 08:50:37 GMT", "date": "Mon, 07 Nov 1994 08:49:37 GMT"}, 60),
        ({"expires": "Sun, 06 Nov 1994 08:50:37 GMT"}, 60),
        ({"expires": "Sun, 06 Nov 1994 08:50:37 GMT", "cache-control": "max-age=5", **DATE}, 5),
        ({"expires": "Sun, 06 Nov 1994 08:50:37 GMT", "cache-control": "max-age=x", **DATE}, 0),
        ({"expires": "Sun, 06 Nov 1994 08:50:37 GMT", "cache-control": "public; max-age=0", **DATE}, 0),
        ({"expires": "Sat, 05 Nov 1994 08:50:37 GMT", **DATE}, 0),
        ({"expires": "0"}, 0), ({"expires": ""}, 0), ({"expires": "-1"}, 0), ({"expires": "Sun, 06 Nov 2094 08:50:37 EST"}, 0),
        ({"expires": "Sun, 06 Nov 2094 08:50:37 GMT, Sun, 06 Nov 2094 08:50:37 GMT", **DATE}, 0),
        ({"etag": '"1"'}, None),
    ],
)  # fmt: skip
def test_how_long_expires_lasts(headers: dict[str, str], seconds: float | None) -> None:
    assert lifetime_of(headers, COMES) == seconds


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("No-Store, PRIVATE", {"no-store", "private"}),
        ('no-cache="set-cookie, x", private=y,no-store', {"no-cache", "private", "no-store"}),
        ("no-cache=x,no-store", {"no-cache", "no-store"}),
        ("public=1, immutable, no-transform", set()),
        ("must-understand, no-store, proxy-revalidate", {"no-store", "proxy-revalidate"}),
        ("private; max-age=60", {"private"}),
        ("max-age=60 no-store", {"no-store"}),
        ("max-age=60; must-revalidate", {"proxy-revalidate"}),
        ("must-revalidate=x", {"proxy-revalidate"}),
        ("must-revalidate", {"must-revalidate", "proxy-revalidate"}),
        ("x-private, no-storex, private_", set()),
        ('max-age="60, public', {"no-store"}),
        ("max-age=60, " + "x" * 2000, {"no-store"}),
        (",, ,", set()),
    ],
)
def test_what_an_answer_allows(text: str, flags: set[str]) -> None:
    assert cache_control({"cache-control": text}).flags == flags


@given(st.text(max_size=60) | st.text(alphabet='max-ge=0,"s \t\\', max_size=60))
def test_any_text_is_read_and_restated_the_same(text: str) -> None:
    said = cache_control({"cache-control": text})
    lifetime = said.max_age if said.s_maxage is None else said.s_maxage
    again = cache_control({"cache-control": said.restated(lifetime)})
    assert again.flags == said.flags
    assert lifetime_of({"cache-control": said.restated(lifetime)}, COMES) == lifetime


def test_nothing_said_is_nothing() -> None:
    assert cache_control({}) == CacheControl()
