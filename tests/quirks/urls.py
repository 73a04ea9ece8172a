"""URLs: A6. What stands in the request line, and which URLs are one."""

from tests.quirks.model import Ask, Quirk, Request, Right, Rights, Step, either, fails, plain, result

__all__ = ["QUIRKS"]

OWN: Rights = (Right(),)
_KEPT = "What is percent-encoded stays so (RFC 3986, 2.2 and 6.2.2; aiohttp #4307); curl and browsers."
_RESERVED = ":/?#[]@!$&'()*+,;="


def _slow(request: Request) -> list[Step]:
    return [0.1, *plain()(request)]


_SAME = "The same, or equivalent (RFC 3986, 6.2.2)."


def _q(
    name: str,
    target: str,
    *seen: str,
    others: str = _KEPT,
    right: Rights = (),
    refused: bool = False,
    **more: object,
) -> Quirk:
    """Ask for a target; the server has to see one of these."""
    rights = right or either(
        *(result(at=one) for one in seen or (target,)), *([fails("invalid_url")] if refused else [])
    )
    return Quirk(name, "A6", plain(), others, (Ask(target, rights),), **more)  # type: ignore[arg-type]


_ENCODED = [
    *(_q(f"encoded-{ord(sign):02x}", f"/a%{ord(sign):02X}b/c?d=%{ord(sign):02X}") for sign in _RESERVED),
    *(_q(f"raw-{ord(sign):02x}", f"/a{sign}b/c?d={sign}", others="Left as it is.") for sign in ":@!$&'()*+,;="),
    _q("signed-url", "/get?sig=a%2Fb%3D&u=x%40y%2C"),
    _q("slash-encoded-in-a-path", "/a%2Fb/c%2Fd"),
    _q("encoded-in-lower-case", "/a%2fb?c=%3d", "/a%2fb?c=%3d", "/a%2Fb?c=%3D", others=_SAME),
    _q("encoded-tilde", "/%7Eme", "/%7Eme", "/~me", others=_SAME),
    _q("encoded-letter", "/%41", "/%41", "/A", others=_SAME),
    _q("encoded-letters-and-reserved", "/%41%2F%2e?%42=%26", "/%41%2F%2e?%42=%26", "/A%2F.?B=%26", others=_SAME),
    _q("encoded-space", "/a%20b?c=%20"),
    _q("plus", "/a+b?c=d+e"),
    _q("encoded-percent", "/100%25?d=%25"),
    _q("encoded-twice", "/a%252Fb"),
    _q("encoded-nul", "/a%00b", refused=True),
    _q("encoded-line-end", "/a%0D%0AX-Injected:%201", refused=True, others="It never becomes a line end."),
    _q("encoded-latin-1", "/caf%E9"),
    _q("encoded-utf-8", "/caf%C3%A9"),
    _q("encoded-pipe", "/a%7Cb"),
    _q("encoded-backslash", "/a%5Cb"),
    _q("encoded-quote", "/a%22b%27c"),
    _q("encoded-brackets-in-a-query", "/x?a%5B%5D=1&a%5B%5D=2"),
    _q("raw-brackets-in-a-query", "/x?a[]=1&a[]=2", "/x?a[]=1&a[]=2", "/x?a%5B%5D=1&a%5B%5D=2", others="Left as they are."),
    _q("bad-percent", "/a%zz", "/a%zz", "/a%25zz", refused=True, others="curl and browsers leave it."),
    _q("lone-percent", "/100%", "/100%", "/100%25", refused=True, others="curl and browsers leave it."),
    _q("percent-of-a-half", "/a%4", "/a%4", "/a%254", refused=True, others="curl and browsers leave it."),
]  # fmt: skip

_SHAPES = [
    _q("dot-segments", "/a/./b/../c", "/a/c", others="Removed (RFC 3986, 6.2.2.3)."),
    _q("encoded-dot-segments", "/a/b/%2e%2E/c", "/a/c", "/a/b/%2e%2E/c", "/a/b/%2E%2E/c", others="Browsers remove them, too."),
    _q("dots-above-the-root", "/../../a", "/a", others="Removed (RFC 3986, 5.2.4)."),
    _q("dots-at-the-end", "/a/b/..", "/a/", others="Removed (RFC 3986, 5.2.4)."),
    _q("three-dots", "/a/.../b", others="A segment like others."),
    _q("dots-in-a-query", "/a?b=../c", others="No segments there."),
    _q("double-slash", "/a//b///c", others="Left as they are."),
    _q("double-slash-at-the-start", "//a/b", others="Left as it is."),
    _q("parameters", "/a;b=1;c/d;e", others="Left as they are."),
    _q("empty-query", "/a?", others="Not the same as without one (RFC 3986, 6.2.3)."),
    _q("no-path", "", "/", others="Sent as / (RFC 9112, 3.2.1)."),
    _q("query-without-a-path", "?a=1", "/?a=1", others="Sent as /? (RFC 9112, 3.2.1)."),
    _q("odd-query", "/a?&&b=&=c&d&?e", others="Left as it is."),
    _q("question-marks-in-a-query", "/a?b?c?d", others="Left as they are."),
    _q("slashes-in-a-query", "/a?b=/c//d:e@f", others="Left as they are."),
    _q("url-in-a-query", "/a?b=http%3A%2F%2Fx.example%2F%3Fy%3D1%26z%3D2", others="Left as it is (aiohttp #2188)."),
    _q("url-in-a-path", "/thumb/http%3A%2F%2Fx.example%2Fa.jpg", others="Left as it is (aiohttp #2188)."),
    _q("order-of-a-query", "/a?z=1&a=2&z=0", others="Left as it is."),
    _q("fragment", "/a?b#c?d", "/a?b", others="Not sent (RFC 9110, 4.2.5)."),
    _q("empty-fragment", "/a#", "/a", others="Not sent."),
    _q("case-of-a-path", "/AbC?DeF", others="Paths have a case."),
    _q("comma-and-semicolon", "/a,b;c,d", others="Left as they are."),
    _q("matrix-and-parentheses", "/Table(PartitionKey='u',RowKey='t')", others="Left as they are (aiohttp #11410)."),
    _q("2000-characters", "/" + "a" * 1900, others="Browsers and curl: no such bound."),
    _q("3000-characters", "/" + "a" * 3000, others="A documented bound.",
       right=either(result(at="/" + "a" * 3000), fails("invalid_url", says=("characters", "long")))),
]  # fmt: skip

_SIGNS = [
    _q("unicode-in-a-path", "/größe", "/gr%C3%B6%C3%9Fe", others="UTF-8, percent-encoded (RFC 3987, 3.1)."),
    _q("unicode-in-a-query", "/a?q=größe", "/a?q=gr%C3%B6%C3%9Fe", others="UTF-8, percent-encoded."),
    _q("cjk", "/日本?語=\uff11", "/%E6%97%A5%E6%9C%AC?%E8%AA%9E=%EF%BC%91", others="UTF-8, percent-encoded."),
    _q("emoji", "/🦊", "/%F0%9F%A6%8A", others="UTF-8, percent-encoded."),
    _q("decomposed", "/e\u0301", "/e%CC%81", others="Not normalised."),
    _q("unicode-and-encoded", "/é%C3%A9%E9", "/%C3%A9%C3%A9%E9", others="UTF-8, percent-encoded; the rest stays."),
    _q("space", "/a b", "/a%20b", refused=True, others="curl refuses; browsers encode."),
    _q("pipe", "/a|b", "/a|b", "/a%7Cb", refused=True, others="curl leaves it."),
    _q("braces", "/a{b}", "/a{b}", "/a%7Bb%7D", refused=True, others="Browsers encode."),
    _q("quote", '/a"b', "/a%22b", refused=True, others="Browsers encode."),
    _q("backslash", "/a\\b", "/a%5Cb", "/a/b", refused=True, others="Browsers take it for a slash."),
    _q("scheme-in-upper-case", "/a", others="Schemes have no case."),
    _q("idn", "/a", right=result(has="[xn--bcher-kva.localhost"), host="bücher.localhost", sent_as="xn--bcher-kva.localhost", others="IDNA (RFC 5891)."),
    _q("idn-in-upper-case", "/a", right=result(has="[xn--mller-kva.localhost"), host="MÜLLER.localhost", sent_as="xn--mller-kva.localhost", others="UTS 46: case is folded."),
    _q("idn-with-eszett", "/a", right=result(has="[xn--fa-hia.localhost"), host="faß.localhost", sent_as="xn--fa-hia.localhost", others="Not ss (UTS 46, non-transitional)."),
    _q("idn-with-a-symbol", "/a", right=either(result(has="[xn--n3h.localhost"), fails("invalid_url")), host="☃.localhost", sent_as="xn--n3h.localhost", others="UTS 46 takes it, IDNA 2008 does not."),
    _q("idn-encoded-already", "/a", right=result(has="[xn--bcher-kva.localhost"), host="XN--Bcher-KVA.localhost", sent_as="xn--bcher-kva.localhost", others="Names have no case."),
    _q("name-in-upper-case", "/a", right=result(has="[shout.localhost"), host="SHOUT.LocalHost", sent_as="shout.localhost", others="Names have no case."),
    _q("name-with-an-underscore", "/a", right=either(result(has="[under_score.localhost"), fails("invalid_url")), host="under_score.localhost", others="Browsers take it."),
]  # fmt: skip

_PAIRS = [
    Quirk(
        f"{name}-are-two{'-at-once' if at_once else ''}", "A6", plain(), "Two URLs: two requests, and two answers.",
        (Ask(first), Ask(second)), by_command=False, at_once=at_once,
        paths={path.partition("?")[0]: _slow if at_once else plain("Cache-Control: max-age=60") for path in (first, second)},
    )
    for name, first, second in (
        ("encoded-slashes", "/p/a%2Fb", "/p/a/b"),
        ("encoded-ats", "/p?u=x%40y%2C", "/p?u=x@y,"),
        ("encoded-pluses", "/p?u=a%2Bb", "/p?u=a+b"),
        ("encoded-ampersands", "/p?u=a%26b", "/p?u=a&b"),
        ("empty-queries", "/p?", "/p"),
        ("double-slashes", "/p//a", "/p/a"),
        ("cases", "/p/A", "/p/a"),
        ("orders", "/p?a&b", "/p?b&a"),
    )
    for at_once in (False, True)
]  # fmt: skip

QUIRKS = [*_ENCODED, *_SHAPES, *_SIGNS, *_PAIRS]
