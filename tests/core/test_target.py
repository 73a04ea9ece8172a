"""A URL is refused, or leads only where the policy allows: whatever the text."""

import unicodedata
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.core.address import Policy
from service.core.target import Refusal, Target, check_redirect, check_url

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


def test_a_url_has_at_most_2048_characters() -> None:
    assert isinstance(check_url("http://a.example/" + "x" * 2048, PUBLIC), Refusal)


@pytest.mark.parametrize(
    ("location", "url"),
    [("/b", "https://a.example/b"), ("c", "https://a.example/x/c"), ("//b.example/", "https://b.example/")],
)
def test_a_redirect_is_joined_to_where_it_came_from(location: str, url: str) -> None:
    target = check_redirect(checked("https://a.example/x/y"), location, PUBLIC)
    assert isinstance(target, Target)
    assert str(target.url) == url


@pytest.mark.parametrize(
    "location", ["https://[2001:4868064:0::8888]/", "ps://[2001:4860::8888]x@", "//[::1]x@/", "1://[::1]x@"]
)
def test_a_redirect_that_the_parser_fails_on_is_refused(location: str) -> None:
    """Found by atheris: yarl raises later than expected, or IndexError; a hostile upstream could end a fetch so."""
    assert isinstance(check_redirect(checked("https://a.example/"), location, PUBLIC), Refusal)


@pytest.mark.parametrize("location", ["http://a.example/", "http://127.0.0.1/", "//[::1]/", "file:///etc/passwd"])
def test_a_redirect_that_leads_down_or_inside_is_refused(location: str) -> None:
    assert isinstance(check_redirect(checked("https://a.example/"), location, PUBLIC), Refusal)


@given(text=st.text(max_size=200))
def test_any_text_is_judged_without_an_exception(text: str) -> None:
    for candidate in (text, "http://" + text, "http://a.example/" + text):
        assert isinstance(check_url(candidate, PUBLIC), Target | Refusal)
        assert isinstance(check_redirect(checked("https://a.example/"), candidate, PUBLIC), Target | Refusal)


@given(host=st.ip_addresses())
def test_a_literal_is_a_target_only_if_its_address_is_allowed(host: object) -> None:
    text = f"http://[{host}]/" if ":" in str(host) else f"http://{host}/"
    assert isinstance(check_url(text, PUBLIC), Target) == PUBLIC.allows(host)


@given(host=st.sampled_from(HOSTS), upper=st.booleans(), dot=st.sampled_from(["", "."]), form=st.sampled_from(["NFC", "NFKC", "NFKD"]))  # fmt: skip
def test_another_spelling_never_lets_a_refused_host_through(host: str, upper: bool, dot: str, form: str) -> None:
    spelled = unicodedata.normalize(form, host.upper() if upper else host) + dot
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in spelled)
    for text in (spelled, wide, wide.replace(".", "\u3002")):
        assert isinstance(check_url(f"http://{text}/", PUBLIC), Refusal)
