"""Redirects: A3 (what a Location may look like), A20 (long ones), A22 (fragments), and where they lead."""

from typing import Any

from tests.quirks.model import Ask, Quirk, Request, Right, Rights, Script, answer, either, explained, fails, result

__all__ = ["QUIRKS"]

OWN: Rights = (Right(),)
_ENCODED = "Percent-encoded byte by byte, as browsers do."
_NOT_A_URL = "Not a URL of HTTP."


def _to(*locations: bytes, status: bytes = b"302 Found") -> Script:
    """Redirect there; HOST stands for this origin."""

    def script(request: Request) -> list[bytes]:
        host = request.header("host") or b""
        return [answer(b"", *(b"Location: " + one.replace(b"HOST", host) for one in locations), status=status)]

    return script


def _q(
    name: str,
    location: bytes,
    at: str | None,
    others: str = _ENCODED,
    right: Rights | None = None,
    kind: str = "A3",
    **more: Any,
) -> Quirk:
    status = more.pop("status", b"302 Found")
    ask = Ask(
        target=more.pop("target", None),
        right=right if right is not None else result(at=at),
        method=more.pop("method", None),
    )
    return Quirk(name, kind, _to(location, status=status), others, (ask,), **more)


_BYTES = [
    _q("location-latin-1", b"/caf\xe9", "/caf%E9"),
    _q("location-utf-8", b"/caf\xc3\xa9", "/caf%C3%A9", "scrapy #2321, requests #3888."),
    _q("location-utf-8-absolute", b"http://HOST/caf\xc3\xa9", "/caf%C3%A9"),
    _q("location-latin-1-in-a-query", b"/x?q=caf\xe9", "/x?q=caf%E9"),
    _q("location-mixed-encodings", b"/%C3%A9/\xe9", "/%C3%A9/%E9"),
    _q("location-with-spaces", b"/a b c", "/a%20b%20c"),
    _q("location-with-a-space-in-a-query", b"/x?a=b c", "/x?a=b%20c"),
    _q("location-with-a-pipe", b"/a|b", "/a%7Cb", "Not in a URI; encoded or left.", either(result(at="/a%7Cb"), result(at="/a|b"))),
    _q("location-with-a-quote", b'/a"b', "/a%22b"),
    _q("location-with-angles", b"/a<b>c", "/a%3Cb%3Ec"),
    _q("location-with-braces", b"/a{b}", "/a%7Bb%7D"),
    _q("location-with-a-caret", b"/a^b", "/a%5Eb", _ENCODED, either(result(at="/a%5Eb"), result(at="/a^b"))),
    _q("location-with-a-backtick", b"/a`b", "/a%60b"),
    _q("location-with-brackets", b"/a[b]", "/a[b]", "Left as they are.", either(result(at="/a[b]"), result(at="/a%5Bb%5D"))),
    _q("location-with-a-backslash", b"/a\\b", None, "Browsers take it for a slash; parsers that differ are an attack.",
       either(result(at="/a%5Cb"), result(at="/a/b"), fails("invalid_url", "blocked"))),
    _q("location-with-a-tab", b"/a\tb", None, "Browsers drop it.", either(result(at="/ab"), result(at="/a%09b"), fails("invalid_url"))),
    _q("location-with-a-control-byte", b"/a\x01b", None, _ENCODED, either(result(at="/a%01b"), fails("invalid_url"), explained("header", "value"))),
    _q("location-with-delete", b"/a\x7fb", None, _ENCODED, either(result(at="/a%7Fb"), fails("invalid_url"), explained("header", "value"))),
    _q("location-with-spaces-around", b"  /there \t", "/there", "They do not belong to the value."),
    _q("location-with-a-bad-percent", b"/a%zz", "/a%zz", "Left as it is.", either(result(at="/a%zz"), result(at="/a%25zz"))),
    _q("location-with-a-lone-percent", b"/100%", "/100%", "Left as it is.", either(result(at="/100%"), result(at="/100%25"))),
    _q("location-encoded", b"/a%2Fb?sig=%40%3D%2B&u=x%26y", "/a%2Fb?sig=%40%3D%2B&u=x%26y", "Left as it is: signatures depend on it (aiohttp #4307)."),
    _q("location-encoded-in-lower-case", b"/a%2fb", "/a%2fb", "Left as it is.", either(result(at="/a%2fb"), result(at="/a%2Fb"))),
    _q("location-with-an-encoded-tilde", b"/%7Eme", "/%7Eme", "Equivalent (RFC 3986, 2.3; requests #6923).", either(result(at="/%7Eme"), result(at="/~me"))),
    _q("location-with-plus", b"/a+b?c=d+e", "/a+b?c=d+e", "Left as it is."),
    _q("location-with-parameters", b"/a;b=1,2;c", "/a;b=1,2;c", "Left as it is."),
    _q("location-with-an-empty-query", b"/there?", "/there?", "Not the same as without one (RFC 3986, 6.2.3)."),
    _q("location-with-a-signed-url", b"/o?X-Amz-Credential=A%2F20210304%2Fus&f=attachment%3B%20filename%3Du", "/o?X-Amz-Credential=A%2F20210304%2Fus&f=attachment%3B%20filename%3Du", "Left as it is."),
]  # fmt: skip

_KINDS = [
    _q("location-relative", b"there", "/q/there", "RFC 3986, 5.3."),
    _q("location-relative-with-dots", b"../../there", "/there", "RFC 3986, 5.2.4."),
    _q("location-above-the-root", b"../../../../there", "/there", "RFC 3986, 5.4.2."),
    Quirk("location-query-alone", "A3", lambda r: [answer(r.body)] if "?" in r.target else _to(b"?x=1")(r), "RFC 3986, 5.3.", (Ask(right=result(at="/q/location-query-alone?x=1")),)),
    _q("location-without-a-scheme", b"//HOST/there", "/there", "RFC 3986, 4.2."),
    _q("location-in-upper-case", b"HTTP://HOST/there", "/there", "Schemes have no case."),
    _q("location-with-dot-segments", b"/a/./b/../there", "/a/there", "RFC 3986, 5.2.4."),
    _q("location-with-a-double-slash", b"/a//there", "/a//there", "Left as it is."),
    _q("location-with-a-colon", b"./a:b", "/q/a:b", "RFC 3986, 4.2."),
    _q("location-without-slashes", b"http:there", None, "Browsers take it as relative.", either(result(at="/q/there"), fails("invalid_url"))),
    _q("location-with-one-slash", b"http:/there", None, "Browsers take it as relative to the scheme's host.", either(result(at="/there"), fails("invalid_url", "blocked", "dns")), elsewhere=True),
    _q("location-host-and-port-alone", b"HOST/there", None, "Browsers take it as relative.", either(result(anybody=True), fails("invalid_url"))),
    _q("location-with-a-fragment", b"/there#part", "/there", "The fragment is not sent.", result(at="/there", final="/there#part"), kind="A22"),
    _q("fragment-that-is-inherited", b"/there", "/there", "The fragment goes on (RFC 9110, 10.2.2).", result(at="/there", final="/there#mine"), kind="A22", target="/q/fragment-that-is-inherited#mine"),
    _q("fragment-that-is-replaced", b"/there#theirs", "/there", "Location's fragment wins.", result(at="/there", final="/there#theirs"), kind="A22", target="/q/fragment-that-is-replaced#mine"),
    _q("fragment-alone", b"#part", None, "The same URL again: a loop.", either(fails("redirects"), result(302, anybody=True)), kind="A22"),
    _q("location-of-3000-characters", b"/" + b"a" * 3000, "/" + "a" * 3000, "Browsers and curl: no bound of 2,048.", kind="A20"),
    _q("location-of-7000-characters", b"/x?" + b"a" * 7000, "/x?" + "a" * 7000, "Browsers and curl follow.", kind="A20",
       right=either(result(at="/x?" + "a" * 7000), fails("invalid_url", "redirects", "too_large", says=("characters", "bytes", "long")))),
    _q("location-of-90000-characters", b"/x?" + b"a" * 90_000, None, "Beyond most servers' bounds.", kind="A20",
       right=either(result(at="/x?" + "a" * 90_000), fails("invalid_url", "redirects", "too_large", "protocol", says=("characters", "bytes", "long", "kib")))),
    _q("empty-location", b"", None, "It leads nowhere.", either(result(302, anybody=True), fails("redirects", "invalid_url"), result(at="/q/empty-location", anybody=True))),
    Quirk("two-locations-the-same", "A3", _to(b"/there", b"/there"), "One, said twice.", (Ask(right=either(result(at="/there"), fails("protocol", "redirects", "invalid_url", says=("location",)))),)),
    Quirk("two-locations", "A3", _to(b"/there", b"/elsewhere"), "Chromium refuses; curl takes the first.",
          (Ask(right=either(result(at="/there"), result(at="/elsewhere"), fails("protocol", "redirects", "invalid_url", says=("location",)))),)),
    *(_q(f"redirect-{status}", b"/there", "/there", "RFC 9110, 15.4.", status=b"%d There" % status, kind="redirects") for status in (301, 302, 303, 307, 308)),
    _q("redirect-of-a-head", b"/there", None, "HEAD stays HEAD.", result(body=""), method="HEAD", kind="redirects"),
    _q("redirect-to-file", b"file:///etc/passwd", None, _NOT_A_URL, fails("invalid_url", "blocked"), kind="redirects"),
    _q("redirect-to-ftp", b"ftp://127.0.0.1/x", None, _NOT_A_URL, fails("invalid_url", "blocked"), kind="redirects"),
    _q("redirect-to-javascript", b"javascript:alert(1)", None, _NOT_A_URL, fails("invalid_url", "blocked"), kind="redirects"),
    _q("redirect-to-data", b"data:text/plain,hello", None, _NOT_A_URL, fails("invalid_url", "blocked"), kind="redirects"),
    _q("redirect-to-mailto", b"mailto:a@b.example", None, _NOT_A_URL, fails("invalid_url", "blocked"), kind="redirects"),
    _q("redirect-to-gopher", b"gopher://127.0.0.1:11211/_stats", None, _NOT_A_URL, fails("invalid_url", "blocked"), kind="redirects"),
    _q("redirect-to-ws", b"ws://HOST/", None, _NOT_A_URL, fails("invalid_url", "blocked"), kind="redirects"),
    _q("redirect-to-metadata", b"http://169.254.169.254/latest/meta-data/", None, "Addresses that are not public are not dialled.", fails("blocked"), kind="redirects", elsewhere=True),
    _q("redirect-to-a-private-address", b"http://10.0.0.1/", None, "Addresses that are not public are not dialled.", fails("blocked"), kind="redirects", elsewhere=True),
    _q("redirect-to-a-mapped-address", b"http://[::ffff:169.254.169.254]/", None, "As above.", fails("blocked", "invalid_url"), kind="redirects", elsewhere=True),
    _q("redirect-to-an-octal-address", b"http://0251.0376.0251.0376/", None, "As above.", fails("blocked", "invalid_url"), kind="redirects", elsewhere=True),
    _q("redirect-to-another-port", b"http://127.0.0.1:22/", None, "Ports that are not allowed are not dialled.", fails("blocked"), kind="redirects"),
    _q("redirect-with-credentials", b"http://user:secret@HOST/there", None, "curl and browsers drop or send them.", either(fails("invalid_url", "blocked"), result(at="/there")), kind="redirects"),
    _q("redirect-with-an-at-sign", b"http://HOST@169.254.169.254/", None, "The host is what follows the @.", fails("invalid_url", "blocked"), kind="redirects", elsewhere=True),
    _q("redirect-to-no-host", b"http:///there", None, "Browsers drop slashes.", fails("invalid_url", "blocked", "dns"), kind="redirects", elsewhere=True),
    _q("redirect-to-a-bad-port", b"http://127.0.0.1:99999/", None, _NOT_A_URL, fails("invalid_url"), kind="redirects"),
    _q("redirect-to-a-bad-bracket", b"http://[::1/", None, _NOT_A_URL, fails("invalid_url", "blocked"), kind="redirects"),
    _q("redirect-loop", b"/q/redirect-loop", None, "A bound on hops (RFC 9110, 15.4).", fails("redirects"), kind="redirects"),
    Quirk("redirects-in-a-circle", "redirects", _to(b"/circle"), "As above.", (Ask(right=fails("redirects")),), paths={"/circle": _to(b"/q/redirects-in-a-circle")}),
    Quirk("five-redirects", "redirects", _to(b"/1"), "As many as are allowed.", (Ask(right=result(at="/5")),), paths={f"/{n}": _to(b"/%d" % (n + 1)) for n in range(1, 5)}),
    Quirk("six-redirects", "redirects", _to(b"/1"), "One more than is allowed.", (Ask(right=fails("redirects")),), paths={f"/{n}": _to(b"/%d" % (n + 1)) for n in range(1, 6)}),
    Quirk("redirect-without-a-location", "redirects", lambda r: [answer(r.body, status=b"302 Found")], "An answer like others (RFC 9110, 15.4).", (Ask(right=result(302)),)),
    Quirk("redirect-by-refresh", "redirects", lambda r: [answer(r.body, "Refresh: 0; url=/elsewhere")], "Browsers follow it as pages do; clients do not.", (Ask(right=result()),)),
]  # fmt: skip

QUIRKS = [*_BYTES, *_KINDS]
