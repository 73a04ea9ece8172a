"""robots.txt by RFC 9309, with its examples, and patterns that are meant to take long."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.fetching.robots import ALL, NONE, parse_robots


@pytest.mark.parametrize(
    ("rule", "path", "allowed"),
    [
        ("/", "/a", False), ("/fish", "/fish/salmon", False), ("/fish", "/Fish", True), ("/fish/", "/fish", True),
        ("*.php", "/x/index.php?a=1", False), ("/*.php$", "/index.php?a", True), ("/*.php$", "/x/index.php", False),
        ("/fish*.php", "/fishheads/catfish.php?a", False), ("/a*", "/a", False), ("/$", "/", False), ("/$", "/a", True),
        ("/a%3cd", "/a%3Cd", False), ("/%7Ejoe", "/~joe/", False), ("/\u30c4", "/%E3%83%84", False),
        ("/a%2fb", "/a/b", True), ("", "/", True), ("/robots.txt", "/robots.txt", True),
        ("/a?b=https://c", "/a?b=https%3A%2F%2fc", False), ("/a?b=https%3a%2f%2Fc", "/a?b=https://c", False),
        ("/%62%61%7A", "/baz", False), ("/baz", "/%62%61%7a", False), ("/a%2Cb;", "/a,b%3B", False), ("/a%2fb", "/a%2Fb", False),
        ("/caf\u00e9", "/caf%c3%a9", False), ("/caf\udce9", "/caf%E9", False), ("/a%26b", "/a&b", True),
        ("/a-%2A.html", "/a-*.html", False), ("/a-%2A.html", "/a-b.html", True), ("/a$b", "/a$b", False), ("/a$b", "/a", True),
        ("/a%24", "/a$b", False), ("*", "/", False), ("/*/b", "/a/c/b", False), ("/a*$", "/ab", False), ("fish", "/fish", True),
        ("/a # no", "/a", False), ("/100%", "/100%", False), ("/a*b*$", "/a-b-c", False), ("/**a", "/ba", False),
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


@pytest.mark.parametrize(
    ("named", "ours"),
    [
        ("Sluice", True), ("SLUICE/1.0", True), ("sluice/1.0 (+http://x.example)", True), ("sluice bot", True), ("*", True),
        ("* # all", True), ("sluicebot", False), ("sluice-bot", False), ("a sluice", False), ("", False), ("/sluice", False),
    ],
)  # fmt: skip
def test_a_group_is_ours_by_its_product_token(named: str, ours: bool) -> None:
    assert parse_robots(f"User-agent: {named}\nDisallow: /", "sluice").allows("/") is not ours


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n", "\r\r\n"])
def test_lines_end_as_they_like(end: str) -> None:
    lines = [
        "\ufeffUser-agent: sluice",
        "Disallow: /a\x0b\u2028b",
        "  DISALLOW :/c  # d",
        "nothing",
        ": /e",
        "Allow /f",
    ]
    rules = parse_robots(end.join(lines), "sluice")
    assert [rules.allows(path) for path in ("/a%0B%E2%80%A8b", "/a", "/c", "/e")] == [True, True, False, True]


def test_every_rule_of_a_file_counts() -> None:
    lines = [
        "User-agent: *",
        *(f"Disallow: /{number}/" for number in range(30_000)),
        "Disallow: /last",
        "Allow: /29999/a",
    ]
    rules = parse_robots("\n".join(lines), "sluice")
    asked = ["/last", "/0/", "/29999/", "/29999/a", "/30000/"]
    assert [rules.allows(path) for path in asked] == [False, False, False, True, True]
    many = parse_robots("User-agent: *\n" + "\n".join(f"Disallow: /*{n}$" for n in range(5000)), "sluice")
    assert [many.allows(path) for path in ("/a4999", "/a5000", "/a04999x")] == [False, False, True]


def test_a_longer_pattern_wins_over_a_plain_rule_and_the_other_way_round() -> None:
    text = "User-agent: *\nDisallow: /a/\nAllow: /*.gif$\nDisallow: /a/b/c/d\nDisallow: /*x\nAllow: /yx"
    rules = parse_robots(text, "sluice")
    asked = ["/a/c", "/a/c.gif", "/a/b/c/d.gif", "/zx", "/yx"]
    assert [rules.allows(path) for path in asked] == [False, True, False, False, True]


@pytest.mark.parametrize("part", ["*a", "*", "*ab", "*a$"])
def test_no_file_takes_long(part: str) -> None:
    lines = "\n".join("Disallow: /" + part * (400 // len(part)) + str(n) for n in range(1200))
    rules = parse_robots("User-agent: *\n" + lines, "sluice")
    begun = time.process_time()
    for path in ("/" + "a" * 8000, "/" + "ab" * 4000):
        assert rules.allows(path)
    assert time.process_time() - begun < 5  # a backtracking matcher would not come back
    assert rules.cost("/" + "a" * 8000) > 1 << 20


def test_a_long_path_is_not_allowed_where_deciding_would_take_seconds() -> None:
    lines = [f"Disallow: /*bc{number}" for number in range(25_000)]
    rules = parse_robots("User-agent: *\n" + "\n".join(lines), "sluice")
    begun = time.process_time()
    assert rules.allows("/" + "b" * 2000)
    assert not rules.allows("/" + "b" * 60_000)
    assert time.process_time() - begun < 2


def _by_definition(rules: list[tuple[str, bool]], path: str) -> bool:
    matching = []
    for text, allowed in rules:
        anchored = text.endswith("$")
        body = re.escape(text.removesuffix("$") if anchored else text).replace(r"\*", ".*")
        if text and re.match(body + (r"\Z" if anchored else ""), path):
            matching.append((len(text), allowed))
    return max(matching, default=(0, True))[1]


@given(
    st.lists(st.tuples(st.from_regex(r"\A[/*][ab/*]{0,6}\$?\Z"), st.booleans()), max_size=8),
    st.from_regex(r"\A/[ab/]{0,8}\Z"),
)
def test_the_longest_of_all_that_match_counts(rules: list[tuple[str, bool]], path: str) -> None:
    lines = [f"{'Allow' if allowed else 'Disallow'}: {text}" for text, allowed in rules]
    found = parse_robots("User-agent: *\n" + "\n".join(lines), "sluice").allows(path)
    assert found is _by_definition(rules, path)


@given(st.text(max_size=500))
def test_any_robots_file_can_be_read(text: str) -> None:
    parse_robots(text, "sluice").allows("/")
