"""robots.txt by RFC 9309, with its examples, and patterns that are meant to take long."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.robots import ALL, NONE, parse_robots


@pytest.mark.parametrize(
    ("rule", "path", "allowed"),
    [
        ("/", "/a", False), ("/fish", "/fish/salmon", False), ("/fish", "/Fish", True), ("/fish/", "/fish", True),
        ("*.php", "/x/index.php?a=1", False), ("/*.php$", "/index.php?a", True), ("/*.php$", "/x/index.php", False),
        ("/fish*.php", "/fishheads/catfish.php?a", False), ("/a*", "/a", False), ("/$", "/", False), ("/$", "/a", True),
        ("/a%3cd", "/a%3Cd", False), ("/%7Ejoe", "/~joe/", False), ("/\u30c4", "/%E3%83%84", False),
        ("/a%2fb", "/a/b", True), ("", "/", True), ("/robots.txt", "/robots.txt", True),
    ],
)  # fmt: skip
def test_rules(rule: str, path: str, allowed: bool) -> None:
    assert parse_robots(f"User-Agent: *\nDisallow: {rule}", "sluice").allows(path) is allowed


def test_the_longest_match_wins_and_of_two_equal_ones_that_which_allows() -> None:
    rules = parse_robots("User-agent: *\nDisallow: /a\nAllow: /a/b\nDisallow: /c\nAllow: /c", "sluice")
    assert [rules.allows(path) for path in ("/a/x", "/a/b/x", "/c", "/d")] == [False, True, True, True]


def test_a_group_of_one_s_own_wins_and_groups_of_a_name_are_one() -> None:
    text = """
        User-agent: *
        Disallow: /
        User-agent: other
        User-agent: SLUICE   # us
        Disallow: /a
        Sitemap: /x
        user-agent: sluice
        disallow: /b
    """
    rules = parse_robots(text, "sluice")
    assert [rules.allows(path) for path in ("/", "/a", "/b")] == [True, False, False]
    assert not parse_robots(text, "stranger").allows("/")
    assert parse_robots("User-agent: sluice\n\nUser-agent: *\nDisallow: /", "sluice").allows("/") is False
    assert ALL.allows("/")
    assert not NONE.allows("/")


def test_no_pattern_takes_long() -> None:
    lines = "\n".join("Disallow: /" + "*a" * 500 + "b" for _ in range(2000))
    rules = parse_robots("User-agent: *\n" + lines, "sluice")
    begun = time.process_time()
    assert not rules.allows("/" + "a" * 400)  # what follows the tenth asterisk is taken for anything
    assert rules.allows("/" + "b" * 2000)
    assert time.process_time() - begun < 5  # a backtracking matcher would not come back


def test_ten_asterisks_of_a_rule_count() -> None:
    text = "User-agent: *\nDisallow: /" + "*a" * 9 + "*z$"
    assert [parse_robots(text, "sluice").allows("/" + "a" * 9 + end) for end in ("z", "y")] == [False, True]
    more = "User-agent: *\nDisallow: /" + "*a" * 10 + "*z$"
    assert not parse_robots(more, "sluice").allows("/" + "a" * 10 + "y")


@given(st.text(max_size=500))
def test_whatever_it_says_it_can_be_read(text: str) -> None:
    parse_robots(text, "sluice").allows("/")
