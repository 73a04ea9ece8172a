"""robots.txt: A12, by RFC 9309. Asked by a service with ``--robots``."""

import gzip

from tests.quirks.model import Ask, End, Quirk, Right, Rights, Script, answer, either, fails

__all__ = ["QUIRKS"]

_ALLOWED: Rights = (Right(at="/private/x"),)
_FORBIDDEN = fails("blocked")


def _file(data: bytes, *lines: str, status: bytes = b"200 OK") -> Script:
    return lambda request: [answer(data, *lines, status=status)]


def _q(name: str, script: Script | bytes, right: Rights, others: str, **paths: Script) -> Quirk:
    served = script if callable(script) else _file(script, "Content-Type: text/plain")
    return Quirk(
        f"robots-{name}", "A12", served, others, (Ask("/private/x", right),), robots=True,
        paths={"/robots.txt": served, **{f"/{path}": made for path, made in paths.items()}},
    )  # fmt: skip


_RULE = b"User-agent: *\nDisallow: /private/\n"
QUIRKS = [
    _q("plain", _RULE, _FORBIDDEN, "RFC 9309, 2.2."),
    _q("empty", b"", _ALLOWED, "No rules."),
    _q("bom", b"\xef\xbb\xbf" + _RULE, _FORBIDDEN, "A BOM is passed over."),
    _q("3000-rules-before", b"User-agent: *\n" + b"".join(b"Disallow: /x%d/\n" % n for n in range(3000)) + b"Disallow: /private/\n", _FORBIDDEN, "At least 500 KiB are heeded (RFC 9309, 2.5)."),
    _q("400-kb-before", b"# " + b"x" * 400_000 + b"\n" + _RULE, _FORBIDDEN, "At least 500 KiB are heeded."),
    _q("long-list-of-agents", b"".join(b"User-agent: bot%d\n" % n for n in range(3000)) + b"User-agent: *\nDisallow: /private/\n", _FORBIDDEN, "At least 500 KiB are heeded."),
    _q("two-mib", b"User-agent: *\nDisallow: /private/\n" + b"# x\n" * 500_000, _FORBIDDEN, "What is beyond the bound is passed over."),
    _q("crlf", _RULE.replace(b"\n", b"\r\n"), _FORBIDDEN, "Any line end."),
    _q("cr", _RULE.replace(b"\n", b"\r"), _FORBIDDEN, "Any line end (RFC 9309, 2.2)."),
    _q("lower-case-and-no-spaces", b"user-agent:*\ndisallow:/private/\n", _FORBIDDEN, "No case, and optional spaces."),
    _q("spaces-and-comments", b"  User-agent : *   # all\n\n\t Disallow : /private/ # mine\n", _FORBIDDEN, "Spaces and comments are passed over."),
    _q("own-group", b"User-agent: sluice\nDisallow: /private/\n\nUser-agent: *\nAllow: /\n", _FORBIDDEN, "The own group wins."),
    _q("own-group-in-capitals", b"User-agent: SLUICE\nDisallow: /private/\n", _FORBIDDEN, "Names have no case."),
    _q("own-group-with-a-version", b"User-agent: Sluice/1.0\nDisallow: /private/\n", either(_FORBIDDEN, _ALLOWED), "Decided and documented."),
    _q("own-group-that-allows", _RULE + b"\nUser-agent: sluice\nAllow: /\n", _ALLOWED, "The own group wins."),
    _q("another-group", b"User-agent: other\nDisallow: /\n", _ALLOWED, "Not ours."),
    _q("longer-name", b"User-agent: sluicegate\nDisallow: /\n", _ALLOWED, "Not ours."),
    _q("two-groups", b"User-agent: *\nDisallow: /a/\n\nUser-agent: x\nDisallow: /b/\n\nUser-agent: *\nDisallow: /private/\n", _FORBIDDEN, "Groups of one name are one (RFC 9309, 2.2.1)."),
    _q("longest-wins", b"User-agent: *\nDisallow: /private/\nAllow: /private/x\n", _ALLOWED, "The longest match (RFC 9309, 2.2.2)."),
    _q("allow-on-a-tie", b"User-agent: *\nDisallow: /private/\nAllow: /private/\n", _ALLOWED, "Allow on a tie."),
    _q("star", b"User-agent: *\nDisallow: /*/x$\n", _FORBIDDEN, "RFC 9309, 2.2.3."),
    _q("dollar-elsewhere", b"User-agent: *\nDisallow: /private$\n", _ALLOWED, "$ is the end."),
    _q("encoded-path", b"User-agent: *\nDisallow: /%70rivate/\n", _FORBIDDEN, "Compared decoded (RFC 9309, 2.2.2)."),
    _q("empty-disallow", b"User-agent: *\nDisallow:\n", _ALLOWED, "It forbids nothing."),
    _q("crawl-delay-between", b"User-agent: *\nCrawl-delay: 1\nSitemap: http://x.example/\nDisallow: /private/\n", _FORBIDDEN, "Other lines end no group."),
    _q("latin-1", b"# caf\xe9\n" + _RULE, _FORBIDDEN, "Other bytes spoil no rule."),
    _q("nul", b"\0\0\n" + _RULE, _FORBIDDEN, "Other bytes spoil no rule."),
    _q("html", _file(b"<!doctype html><title>Not found</title>", "Content-Type: text/html"), _ALLOWED, "No rules."),
    _q("gzip", _file(gzip.compress(_RULE), "Content-Encoding: gzip"), _FORBIDDEN, "A coding like others."),
    _q("404", _file(b"", status=b"404 Not Found"), _ALLOWED, "Unavailable: all is allowed (RFC 9309, 2.3.1.3)."),
    _q("403", _file(b"", status=b"403 Forbidden"), _ALLOWED, "Unavailable: all is allowed."),
    _q("204", lambda r: [b"HTTP/1.1 204 No Content\r\n\r\n"], _ALLOWED, "No rules."),
    _q("500", _file(b"", status=b"500 Oops"), _FORBIDDEN, "Unreachable: nothing is allowed (RFC 9309, 2.3.1.4)."),
    _q("reset", lambda r: [End.RST], _FORBIDDEN, "Unreachable: nothing is allowed."),
    _q("cut", lambda r: [b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b"User-agent: *\n", End.FIN], _FORBIDDEN, "Half of it is none of it."),
    _q("8-bit-header", _file(_RULE, b"X: \xe9".decode("latin-1")), _FORBIDDEN, "A field value is opaque bytes."),
    _q("redirect", _file(b"", "Location: /rules", status=b"302 Found"), _FORBIDDEN, "Five redirects at least (RFC 9309, 2.3.1.2).", rules=_file(_RULE)),
    _q("redirect-loop", _file(b"", "Location: /robots.txt", status=b"302 Found"), either(_ALLOWED, _FORBIDDEN), "May count as unavailable."),
    _q("late-answer", lambda r: [answer(_RULE), 0.1, answer(b"WRONG")], _FORBIDDEN, "Bytes that nobody asked for end a kept connection."),
]  # fmt: skip
