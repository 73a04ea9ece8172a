"""A URL is refused, or leads only where the policy allows, for any text."""

import unicodedata
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.fetching.dial_policy import Policy
from service.core.fetching.target import (
    LONGEST_LOCATION,
    LONGEST_URL,
    Refusal,
    Target,
    check_redirect,
    check_url,
    final_url,
)

PUBLIC = Policy()
LOOPBACK = Policy(nets=(ip_network("127.0.0.0/8"),), ports=frozenset({80, 9000}))
HOSTS = [
    "127.0.0.1",
    "[::1]",
    "169.254.169.254",
    "localhost",
    "2130706433",
    "0x7f.1",
    "[::ffff:7f00:1]",
    "10.0.0.1",
]


def checked(text: str, policy: Policy = PUBLIC) -> Target:
    target = check_url(text, policy)
    assert isinstance(target, Target), target
    return target


def test_a_target_names_host_port_and_origin() -> None:
    target = checked("https://EXAMPLE.com/a?b=c#d")
    assert (target.host, target.port, target.origin) == ("example.com", 443, "https://example.com:443")


def test_the_operator_may_open_addresses_and_ports() -> None:
    assert checked("http://127.0.0.1:9000/", LOOPBACK).port == 9000
    assert checked("http://localhost:9000/", LOOPBACK).host == "localhost"
    assert check_url("http://127.0.0.1:8080/", LOOPBACK) == Refusal("blocked", "port 8080 is not allowed here")


def test_a_url_has_a_longest_length_as_it_is_sent() -> None:
    room = LONGEST_URL - len("http://a.example/")
    assert checked("http://a.example/" + "x" * room).url
    assert check_url("http://a.example/" + "x" * (room + 1), PUBLIC) == Refusal(
        "invalid_url", "longer than 8192 characters"
    )
    assert check_url("http://a.example/" + "|" * (room // 3 + 1), PUBLIC) == Refusal(
        "invalid_url", "longer than 8192 characters when percent-encoded"
    )
    assert check_url(f"http://{'x.' * 200}example/", PUBLIC) == Refusal(
        "invalid_url", "the host name is longer than 253 characters"
    )


@pytest.mark.parametrize(
    "given",
    [
        "/get?sig=a%2Fb%3D&u=x%40y%2C", "/%7Eme/%61", "/a%2fb", "/a+b;c=d,e?f+g;h", "/%25", "/100%", "/?a%5B%5D=1",
        "/?a[]=1&b=[2]", "/a//b", "//b", "/?", "/?x?y=/../z", "/%E4", "/a'b!$&(*)", "/?'", "/%2F..%2F", "/:@", "/.a/..b/...",
        "/%2e%2ea/%2e.b",
    ],
)  # fmt: skip
def test_the_request_line_carries_what_was_given(given: str) -> None:
    target = checked("http://a.example" + given)
    assert target.request_target == given
    assert target.url == "http://a.example" + given


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("HTTP://A.EXAMPLE", "http://a.example/"),
        ("https://a.example:443/a", "https://a.example/a"),
        ("http://a.example:/a", "http://a.example/a"),
        ("http://a.example:00080?b", "http://a.example/?b"),
        ("https://a.example:8443", "https://a.example:8443/"),
        ("http://a.example./a", "http://a.example/a"),
        ("http://[2001:4860:4860:0::8888]/", "http://[2001:4860:4860::8888]/"),
        ("http://a.example/b/./c/../d/.", "http://a.example/b/d/"),
        ("http://a.example/../a/..", "http://a.example/"),
        ("http://a.example/b/%2e%2E/c/.%2e/%2E", "http://a.example/"),
        ("http://a.example/a//../b", "http://a.example/a/b"),
        ("http://a.example/caf\u00e9?\u20ac", "http://a.example/caf%C3%A9?%E2%82%AC"),
        ("http://a.example/caf\udce9", "http://a.example/caf%E9"),
        ('http://a.example/a|b"<c>^`{d}', "http://a.example/a%7Cb%22%3Cc%3E%5E%60%7Bd%7D"),
        ("http://a.example/?\\frac{a}", "http://a.example/?%5Cfrac%7Ba%7D"),
        ("http://a.example/\u00a0\u0085", "http://a.example/%C2%A0%C2%85"),
        ("http://B\u00fccher.example/", "http://xn--bcher-kva.example/"),
        ("http://fa\u00df.example/", "http://xn--fa-hia.example/"),
        ("http://\u4e2d\u56fd\u3002example/", "http://xn--fiqs8s.example/"),
        ("http://i\u2764.example/", "http://xn--i-7iq.example/"),
        ("http://XN--FIQS8S.example/", "http://xn--fiqs8s.example/"),
        ("http://a_b.example/", "http://a_b.example/"),
    ],
)
def test_only_what_every_server_reads_the_same_is_changed(given: str, url: str) -> None:
    assert checked(given).url == url


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ("http://a.example/a b", "space"),
        (" http://a.example/", "space"),
        ("http://a.example/\x7f", "control"),
        ("http://a.example/a\\b", "backslash"),
        ("http://a.example\\@b.example/", "after //"),
        ("http://a.example/\ud800", "surrogate"),
        ("http://a\u200db.example/", "IDNA"),
        ("http://i\u2764\u200d.example/", "IDNA"),
        ("http://a\u00a0b.example/", "not a host name"),
        ("http://xn--\u00e9.example/", "IDNA"),
        ("http://a.example:99999/", "port"),
        ("http://a.example:0/", "port"),
        ("http://a.example:123456/", "port"),
        ("//a.example/", "absolute"),
        ("http\u017f://a.example/", "absolute"),
    ],
)
def test_a_url_is_refused_with_what_is_wrong(given: str, detail: str) -> None:
    refused = check_url(given, PUBLIC)
    assert isinstance(refused, Refusal)
    assert refused.kind == "invalid_url"
    assert detail in refused.detail


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b", "https://a.example/b"),
        ("c", "https://a.example/x/c"),
        ("//b.example/", "https://b.example/"),
        ("//b.example", "https://b.example/"),
        ("?r", "https://a.example/x/y?r"),
        ("?", "https://a.example/x/y?"),
        ("#f", "https://a.example/x/y?q#f"),
        ("../z", "https://a.example/z"),
        ("../../../z", "https://a.example/z"),
        (".", "https://a.example/x/"),
        ("./c:d", "https://a.example/x/c:d"),
        ("1://c", "https://a.example/x/1://c"),
        ("https:z", "https://a.example/x/z"),
        ("https:/z", "https://a.example/z"),
        ("HTTPS://B.example:443/%7e", "https://b.example/%7e"),
        ("/caf\xe9", "https://a.example/caf%E9"),
        ("/caf\xc3\xa9", "https://a.example/caf%C3%A9"),
        ("/\xe2\x82\xac\xff", "https://a.example/%E2%82%AC%FF"),
        ("https://b\xc3\xbccher.example/", "https://xn--bcher-kva.example/"),
        ("  /a b|c\t", "https://a.example/a%20b%7Cc"),
        ("/a\tb?c d", "https://a.example/ab?c%20d"),
        ("/?sig=a%2Fb%3d&u=x%40y%2C", "https://a.example/?sig=a%2Fb%3d&u=x%40y%2C"),
        ("/" + "x" * 20_000, "https://a.example/" + "x" * 20_000),
    ],
)
def test_a_redirect_is_joined_to_where_it_came_from(location: str, url: str) -> None:
    target = check_redirect(checked("https://a.example/x/y?q"), location, PUBLIC)
    assert isinstance(target, Target)
    assert target.url + target.fragment == url
    assert target.origin == checked(url.partition("?")[0][:100]).origin


@pytest.mark.parametrize(
    ("location", "detail"),
    [
        ("https://[2001:4868064:0::8888]/", "IPv6"),
        ("ps://[2001:4860::8888]x@", "http"),
        ("//[::1]x@/", "after //"),
        ("///b.example/", "after //"),
        ("http:/b.example/", "from https to http"),
        ("/a\\b", "backslash"),
        ("\\\\b.example/", "backslash"),
        ("/a\x01", "control"),
        ("/" + "x" * LONGEST_LOCATION, "65536"),
        ("https://\xe9.example/", "IDNA"),
        ("https://b .example/", "host"),
        ("mailto:a@b.example", "http"),
    ],
)
def test_a_redirect_that_cannot_be_followed_says_why(location: str, detail: str) -> None:
    refused = check_redirect(checked("https://a.example/"), location, PUBLIC)
    assert isinstance(refused, Refusal)
    assert detail in refused.detail


def test_a_fragment_is_kept_apart_and_inherited() -> None:
    first = checked("http://a.example/a#b c".replace(" ", "\u00e9"))
    assert (first.url, first.fragment) == ("http://a.example/a", "#b%C3%A9c")
    assert first.without_fragment() == checked("http://a.example/a")
    inherited, own, empty = (check_redirect(first, where, PUBLIC) for where in ("/b", "/b#c", "/b#"))
    assert isinstance(inherited, Target)
    assert isinstance(own, Target)
    assert isinstance(empty, Target)
    assert (inherited.fragment, own.fragment, empty.fragment) == ("#b%C3%A9c", "#c", "#")
    assert final_url(own, "http://a.example/a#b") == "http://a.example/b#c"
    assert final_url(own.without_fragment(), "http://a.example/a#\u00e9") == "http://a.example/b#%C3%A9"
    assert final_url(empty, "http://a.example/a#b") == "http://a.example/b#"


def test_another_path_of_an_origin() -> None:
    target = checked("https://a.example:8443/a?b#c")
    assert target.at("/robots.txt") == checked("https://a.example:8443/robots.txt")


@pytest.mark.parametrize("location", ["http://a.example/", "http://127.0.0.1/", "//[::1]/", "file:///etc/passwd"])
def test_a_redirect_that_leads_down_or_inside_is_refused(location: str) -> None:
    assert isinstance(check_redirect(checked("https://a.example/"), location, PUBLIC), Refusal)


@given(text=st.text(max_size=200))
def test_any_text_is_judged_without_an_exception(text: str) -> None:
    for candidate in (text, "http://" + text, "http://a.example/" + text):
        assert isinstance(check_url(candidate, PUBLIC), Target | Refusal)
        assert isinstance(check_redirect(checked("https://a.example/"), candidate, PUBLIC), Target | Refusal)


@given(host=st.ip_addresses())
def test_a_literal_is_a_target_only_if_its_address_is_allowed(host: IPv4Address | IPv6Address) -> None:
    text = f"http://[{host}]/" if ":" in str(host) else f"http://{host}/"
    assert isinstance(check_url(text, PUBLIC), Target) == PUBLIC.allows(host)


@given(host=st.sampled_from(HOSTS), upper=st.booleans(), dot=st.sampled_from(["", "."]), form=st.sampled_from(["NFC", "NFKC", "NFKD"]))  # fmt: skip
def test_another_spelling_never_lets_a_refused_host_through(host: str, upper: bool, dot: str, form: Any) -> None:
    spelled = unicodedata.normalize(form, host.upper() if upper else host) + dot
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in spelled)
    for text in (spelled, wide, wide.replace(".", "\u3002")):
        assert isinstance(check_url(f"http://{text}/", PUBLIC), Refusal)


# What a server may read in another way than the client: it has to arrive as it was given.
GIVEN = st.text(alphabet="abAB09-._~!$&'()*+,;=:@/?%[]", max_size=60).filter(lambda text: "/." not in "/" + text)
ANY_URL = st.builds(
    "{}://{}{}/{}".format,
    st.sampled_from(["http", "HTTPS"]),
    st.sampled_from(["A.example", "b\u00fccher.example", "a.example.", "8.8.8.8", "[2001:4860:4860::8888]"]),
    st.sampled_from(["", ":", ":80", ":443", ":8080"]),
    st.text(max_size=60) | GIVEN | st.text(alphabet="./%2eE?#", max_size=30),
)


@given(path=GIVEN)
def test_octets_of_a_request_target_survive(path: str) -> None:
    assert checked("http://a.example/" + path).request_target == "/" + path


@given(
    rest=st.sampled_from(["", ":80", ":8080", ":8080:", ".:80"]),
    path=GIVEN | st.text(alphabet="./%2eE?#a", max_size=20),
)
def test_the_short_way_for_plain_urls_leads_where_the_long_one_leads(rest: str, path: str) -> None:
    """A scheme in capitals is never plain."""
    tail = f"://a.example{rest}/{path}"
    assert check_url("http" + tail, PUBLIC) == check_url("HTTP" + tail, PUBLIC)


@given(text=ANY_URL)
def test_a_canonical_url_is_its_own_canonical_form(text: str) -> None:
    target = check_url(text, PUBLIC)
    if isinstance(target, Target):
        assert checked(target.url + target.fragment) == target
        assert target.url.endswith(target.request_target)
        assert "/../" not in target.request_target.partition("?")[0]


@given(base=ANY_URL, octets=st.binary(max_size=60))
def test_any_location_leads_where_its_absolute_spelling_leads(base: str, octets: bytes) -> None:
    first = check_url(base, PUBLIC)
    if isinstance(first, Target):
        hop = check_redirect(first, octets.decode("latin-1"), PUBLIC)
        if isinstance(hop, Target):
            assert checked(hop.url + hop.fragment) == hop
