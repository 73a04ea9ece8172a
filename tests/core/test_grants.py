"""What claims grant: patterns against what they say in words, and every wrong claim by its name."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.access.grants import EVERYTHING, NOTHING, STATIC, ClientLimits, Grant, read_claims
from service.core.errors import Forbidden, Unauthorized
from service.core.fetching.dial_policy import Policy
from service.core.fetching.target import Target, check_url
from service.core.topics.names import check_name

NAME = st.text(st.sampled_from("ab.:-_/"), min_size=1, max_size=8)
LABEL = st.text(st.sampled_from("abx1"), min_size=1, max_size=3).filter(lambda label: not label[-1].isdigit())
HOST = st.lists(LABEL, min_size=1, max_size=4).map(".".join)


def granted(**claims: Any) -> Grant:
    return read_claims({"exp": 1000, **claims}, ClientLimits())


@given(topic=NAME, names=st.lists(NAME, max_size=4), beginnings=st.lists(NAME | st.just(""), max_size=4))
def test_a_topic_is_covered_by_its_name_or_by_a_beginning(
    topic: str, names: list[str], beginnings: list[str]
) -> None:
    grant = granted(publish=[*names, *(f"{beginning}*" for beginning in beginnings)])
    expected = topic in names or any(topic[: len(beginning)] == beginning for beginning in beginnings)
    assert grant.publish.allows(topic) is expected


@given(host=HOST, names=st.lists(HOST, max_size=4), above=st.lists(HOST, max_size=4))
def test_a_host_is_covered_by_its_name_or_by_one_above_it(host: str, names: list[str], above: list[str]) -> None:
    grant = granted(fetch=[*names, *(f"*.{name}" for name in above)])
    labels = host.split(".")
    expected = host in names or any(".".join(labels[start:]) in above for start in range(1, len(labels)))
    assert grant.fetch.allows(host) is expected


@given(st.lists(st.text(max_size=12), max_size=5))
def test_any_pattern_is_read_or_refused_by_its_claim(patterns: list[str]) -> None:
    for claim in ("subscribe", "publish", "fetch", "watch"):
        try:
            granted(**{claim: patterns})
        except Unauthorized as error:
            refusal = error.detail
        else:
            refusal = f"claim {claim}: none"
        assert f"claim {claim}:" in refusal


@given(st.from_regex(r"[!-)+-~]{1,255}", fullmatch=True))
def test_what_is_a_topic_is_a_pattern_and_covers_itself_alone(name: str) -> None:
    check_name(name)
    patterns = granted(subscribe=[name]).subscribe
    assert patterns.allows(name)
    assert not patterns.allows(name + "x")


@pytest.mark.parametrize(
    ("pattern", "url"),
    [
        ("example.org", "http://EXAMPLE.org./x"),
        ("Example.ORG.", "https://example.org:8443/"),
        ("*.example.org", "http://a.b.example.org/"),
        ("xn--bcher-kva.example", "http://bücher.example/"),
        ("192.0.9.1", "http://192.0.9.1/"),
        ("2606:0:0::1", "http://[2606::1]/"),
        ("[2606::0001]", "http://[2606:0:0:0:0:0:0:1]/"),
    ],
)
def test_hosts_are_compared_as_they_are_dialled(pattern: str, url: str) -> None:
    target = check_url(url, Policy())
    assert isinstance(target, Target), target
    assert granted(fetch=[pattern]).fetch.allows(target.host)


@pytest.mark.parametrize(
    ("pattern", "host"),
    [
        ("*.example.org", "example.org"),
        ("*.example.org", "badexample.org"),
        ("example.org", "a.example.org"),
        ("example.org", "example.org.evil.example"),
    ],
)
def test_a_host_is_not_covered_by_what_only_looks_like_it(pattern: str, host: str) -> None:
    assert not granted(fetch=[pattern]).fetch.allows(host)


@pytest.mark.parametrize(
    ("claims", "named"),
    [
        ({"exp": "soon"}, "exp"),
        ({"exp": -1}, "exp"),
        ({"exp": 1e300}, "exp"),
        ({"sub": 5}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": "x" * 256}, "sub"),
        ({"subscribe": "news"}, "subscribe"),
        ({"subscribe": [5]}, "subscribe"),
        ({"subscribe": ["a*b"]}, "subscribe"),
        ({"subscribe": ["a b"]}, "subscribe"),
        ({"subscribe": ["x" * 256]}, "subscribe"),
        ({"publish": [""]}, "publish"),
        ({"publish": ["a"] * 101}, "at most 100"),
        ({"fetch": "all"}, "fetch"),
        ({"fetch": ["http://example.org"]}, "fetch"),
        ({"fetch": ["*"]}, "fetch"),
        ({"fetch": ["a.*.example"]}, "fetch"),
        ({"fetch": ["example.org:80"]}, "fetch"),
        ({"watch": [":::"]}, "watch"),
        ({"limits": {"topics": 0}}, "limits.topics"),
        ({"limits": {"rate": 0}}, "limits.rate"),
        ({"limits": {"fetches": 1.5}}, "limits.fetches"),
        ({"limits": {"topcs": 1}}, "topcs"),
    ],
)
def test_a_wrong_claim_is_named(claims: dict[str, Any], named: str) -> None:
    with pytest.raises(Unauthorized, match="token: claim ") as refused:
        granted(**claims)
    assert named in refused.value.detail


def test_the_name_of_a_claim_that_is_half_an_emoji_is_refused() -> None:
    for claims in ({"\ud83d": 1}, {"limits": {"\ud83d": 1}}):
        with pytest.raises(Unauthorized, match="token: the name of a claim is not Unicode text"):
            granted(**claims)


def test_claims_that_are_nobodys_are_passed_over() -> None:
    assert granted(jti="1", roles=["admin"], iss="x") == granted()


def test_a_claim_that_is_missing_grants_nothing() -> None:
    grant = granted()
    assert not grant.may_read("t")
    assert not grant.may_read("_stats")
    assert not grant.publish.allows("t")
    for claim in (grant.fetch, grant.watch):
        assert not claim.allows("example.org")
        with pytest.raises(Forbidden, match=f"claim {claim.claim}: the token does not have it"):
            claim.check_any()
    assert grant.subscribe == NOTHING.subscribe


def test_a_star_alone_and_true_cover_everything() -> None:
    grant = granted(subscribe=["*"], publish=["*"], fetch=True, watch=True)
    for name in ("t", "_stats", "watch:0123", "batch:0123"):
        grant.check_read(name)
    assert (grant.subscribe, grant.publish) == (EVERYTHING.subscribe, EVERYTHING.publish)
    assert (grant.fetch, grant.watch) == (EVERYTHING.fetch, EVERYTHING.watch)
    assert grant.fetch.all
    assert not granted(fetch=["example.org"]).fetch.all


def test_a_watch_is_read_by_its_name_with_the_whole_claim_alone() -> None:
    """Its name is a hash: it does not tell the host, and tokens with the same claim share it."""
    grant = granted(subscribe=["*", "watch:*"], watch=["example.org"])
    with pytest.raises(Forbidden, match="claim watch"):
        grant.check_read("watch:0123")
    grant.check_read("batch:0123")


def test_refusals_name_the_claim_and_what_it_does_not_cover() -> None:
    with pytest.raises(Forbidden, match="claim subscribe: it does not cover the topic 'b'"):
        granted(subscribe=["a"]).check_read("b")
    with pytest.raises(Forbidden, match="claim publish: .* 'b'"):
        granted(publish=["a"]).publish.check("b")
    assert "claim fetch: it does not cover the host 'b'" in granted(fetch=["a"]).fetch.refusal("b")


def test_limits_are_taken_as_far_as_the_operator_goes() -> None:
    most = ClientLimits(topics=100, rate=50.0, fetches=10)
    low = read_claims({"exp": 1, "limits": {"topics": 5, "rate": 2, "fetches": 1}}, most).limits
    assert low == ClientLimits(5, 2.0, 1)
    assert read_claims({"exp": 1, "limits": {"topics": 500, "rate": 1e9, "fetches": 11}}, most).limits == most
    assert read_claims({"exp": 1}, most).limits == ClientLimits()


def test_the_same_hosts_in_any_order_are_the_same() -> None:
    one, two = granted(fetch=["a.example", "*.b", "*.c"]), granted(fetch=["*.c", "*.b", "A.example", "*.c"])
    assert one.fetch == two.fetch
    assert one.fetch.mark == two.fetch.mark != ""
    assert granted(fetch=["b"]).fetch.mark != granted(fetch=["*.b"]).fetch.mark
    assert EVERYTHING.fetch.mark == ""


def test_connections_end_as_late_as_clocks_may_differ() -> None:
    grant = read_claims({"exp": 1000}, ClientLimits(), leeway=5.0)
    assert (grant.expires, grant.until) == (1000.0, 1005.0)
    assert (EVERYTHING.expires, EVERYTHING.until) == (None, None)


def test_an_owner_is_the_subject_or_else_the_token_or_else_the_address() -> None:
    named, nameless = replace(EVERYTHING, subject="ann", bearer="t1"), replace(EVERYTHING, bearer="t1")
    grants = (named, nameless, STATIC, EVERYTHING)
    assert [grant.owner("::1") for grant in grants] == ["sub ann", "token t1", "token static", "::1"]
    assert named.owner("::1") == named.owner("192.0.2.7")


def test_an_owner_that_is_an_address_has_a_network_and_one_with_credentials_has_none() -> None:
    named, static = replace(EVERYTHING, subject="ann"), replace(EVERYTHING, bearer="static")
    owners = [grant.owner("8.8.8.1") for grant in (named, static, EVERYTHING)]
    assert [(owner.network, owner.witness) for owner in owners] == [
        ("", "sub ann"), ("", "token static"), ("8.8.8.0/24", "8.8.8.0/24"),
    ]  # fmt: skip
    assert EVERYTHING.owner("127.0.0.1").witness == "127.0.0.1"


def test_an_owner_has_the_share_of_its_token_and_shares_what_is_fetched_as_that_says() -> None:
    most = ClientLimits(weight=2.0)
    claims = ({}, {"limits": {"weight": 0.1}}, {"limits": {"weight": 10}}, {"share": "none"}, {"share": "public"})
    for shares_fetches in (True, False):
        grants = [read_claims({"exp": 1, **one}, most, shares_fetches=shares_fetches) for one in claims]
        owners = [grant.owner("::1") for grant in grants]
        assert [owner.weight for owner in owners] == [1.0, 0.1, 2.0, 1.0, 1.0]
        assert [owner.shares_fetches for owner in owners] == [*[shares_fetches] * 3, False, True]
        assert [bool(owner.apart) for owner in owners] == [*[not shares_fetches] * 3, True, False]
