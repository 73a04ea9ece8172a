"""Caching: A8 (what may not be shared) and A22 (dates, ages and contradictions).

Each is asked twice, and the second time tells whether the first answer was kept. The service runs under a local
time zone far from UTC.
"""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from tests.quirks.model import Ask, Quirk, Request, Right, Script, Step, answer, plain

__all__ = ["QUIRKS"]

_ASKED = ("miss", "revalidated")
_PAD = [f"X-Pad-{number}: {'v' * 1000}" for number in range(17)]


def _twice(
    name: str, kind: str, script: Script, others: str, cache: tuple[str, ...], status: int = 200, **more: Any
) -> Quirk:
    first, second = Right(status=status), Right(status=status, cache=cache)
    headers = more.pop("second_headers", None)
    asks = (Ask(right=(first,), headers=more.pop("headers", None)), Ask(right=(second,), headers=headers))
    return Quirk(name, kind, script, others, asks, by_command=False, **more)


def _never(
    name: str,
    *lines: str,
    others: str = "Not for a shared cache (RFC 9111, 3).",
    kind: str = "A8",
    status: bytes = b"200 OK",
    **more: Any,
) -> Quirk:
    return _twice(name, kind, plain(*lines, status=status), others, ("miss",), int(status[:3]), **more)


def _asked(name: str, *lines: str, others: str, kind: str = "A22") -> Quirk:
    return _twice(name, kind, plain(*lines), others, _ASKED)


def _kept(name: str, *lines: str, others: str, kind: str = "A22", **more: Any) -> Quirk:
    return _twice(name, kind, plain(*lines), others, ("hit",), **more)


_PRIVATE = [
    _never("private-behind-17-kb", "Cache-Control: max-age=60", *_PAD, "Cache-Control: private, no-store"),
    _never("no-store-behind-17-kb", "Cache-Control: max-age=60", *_PAD, "Cache-Control: no-store"),
    _never("private-alone-behind-17-kb", "Expires: Thu, 01 Jan 2099 00:00:00 GMT", *_PAD, "Cache-Control: private"),
    _never("cookie-behind-17-kb", "Cache-Control: max-age=60", *_PAD, "Set-Cookie: session=secret", others="Answers that set cookies are not kept."),
    _never("vary-all-behind-17-kb", "Cache-Control: max-age=60", *_PAD, "Vary: *"),
    _never("private-behind-a-17-kb-header", "Cache-Control: max-age=60", "X-Pad: " + "v" * 17_000, "Cache-Control: private"),
    _never("private-behind-60-kb", "Cache-Control: max-age=60", *(f"X-{n}: {'v' * 2000}" for n in range(30)), "Cache-Control: private"),
    _never("private-behind-100-headers", "Cache-Control: max-age=60", *(f"X-{n}: v" for n in range(100)), "Cache-Control: private"),
    _twice("vary-behind-17-kb", "A8", plain("Cache-Control: max-age=60", *_PAD, "Vary: X-Who"), "Another request, another answer (RFC 9111, 4.1).", ("miss",),
           headers={"X-Who": "a"}, second_headers={"X-Who": "b"}),
    _never("private", "Cache-Control: private, max-age=60"),
    _never("private-in-upper-case", "CACHE-CONTROL: PRIVATE, MAX-AGE=60", others="Directives have no case."),
    _never("no-store-in-a-second-line", "Cache-Control: max-age=60", "Cache-Control: no-store", others="Lines of a list are one list (RFC 9110, 5.3)."),
    _never("no-store-and-public", "Cache-Control: public, no-store, max-age=60", others="The stricter wins (RFC 9111, 4.2.1)."),
    _never("no-store-without-spaces", "Cache-Control:max-age=60,no-store"),
    _never("no-store-between-commas", "Cache-Control: ,, max-age=60 , , no-store ,", others="Empty members are passed over."),
    _never("set-cookie", "Cache-Control: public, max-age=60", "Set-Cookie: a=b", others="Answers that set cookies are not kept."),
    _never("vary-all", "Cache-Control: max-age=60", "Vary: *"),
    _never("vary-all-in-a-list", "Cache-Control: max-age=60", "Vary: Accept, *"),
    _never("partial", "Cache-Control: max-age=60", "Content-Range: bytes 0-4/100", others="A part is not the whole (RFC 9111, 3.3).", status=b"206 Partial Content"),
    _never("bad-request", "Cache-Control: max-age=60", others="No 4xx but 404 and 410 is kept for requests with headers of a client (D8).", status=b"400 Bad Request", headers={"X-Big": "v" * 4000}, second_headers={"X-Other": "1"}),
    _never("undated", others="Nothing counts as fresh that is not dated.", kind="A22"),
    _never("pragma", "Pragma: no-cache", others="Nothing counts as fresh that is not dated.", kind="A22"),
]  # fmt: skip


def _moment(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


def _asctime(moment: datetime) -> str:
    return moment.strftime("%a %b ") + f"{moment.day:2d}" + moment.strftime(" %H:%M:%S %Y")


def _imf(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def _rfc850(moment: datetime) -> str:
    return moment.strftime("%A, %d-%b-%y %H:%M:%S GMT")


_FORMS = {"asctime": _asctime, "imf": _imf, "rfc850": _rfc850}


def _dated(form: str, date: float | None, expires: float) -> Script:
    def script(request: Request) -> list[Step]:
        spelled = _FORMS[form]
        lines = [f"Expires: {spelled(_moment(expires))}"]
        if date is not None:
            lines.append(f"Date: {spelled(_moment(date))}")
        return [answer(request.body, *lines)]

    return script


_DATES = [
    *(_twice(f"expired-{form}", "A22", _dated(form, None, -1), "Three forms, all of them UTC (RFC 9110, 5.6.7).", _ASKED) for form in _FORMS),
    *(_twice(f"expired-{form}-with-a-date", "A22", _dated(form, 0, -1), "Three forms, all of them UTC.", _ASKED) for form in _FORMS),
    *(_twice(f"fresh-{form}", "A22", _dated(form, 0, 1), "Three forms, all of them UTC.", ("hit",)) for form in _FORMS),
    *(_twice(f"old-date-{form}", "A22", lambda r, form=form: [answer(r.body, f"Date: {_FORMS[form](_moment(-1))}", "Cache-Control: max-age=1800")],  # type: ignore[misc]
             "Its age counts from its Date (RFC 9111, 4.2.3).", _ASKED) for form in _FORMS),
    _twice("date-ahead", "A22", lambda r: [answer(r.body, f"Date: {_imf(_moment(8))}", "Cache-Control: max-age=60")], "A clock that is wrong makes nothing older.", ("hit",)),
]  # fmt: skip

_AGES = [
    _asked("two-max-ages", "Cache-Control: max-age=0, max-age=60", others="The stricter, or none (RFC 9111, 4.2.1)."),
    _asked("two-max-ages-in-two-lines", "Cache-Control: max-age=0", "Cache-Control: max-age=60", others="The stricter, or none (RFC 9111, 4.2.1)."),
    _asked("max-age-0", "Cache-Control: max-age=0", others="Stale at once."),
    _asked("no-cache", "Cache-Control: no-cache, max-age=60", others="Asked each time (RFC 9111, 5.2.2.4)."),
    _asked("s-maxage-0", "Cache-Control: max-age=60, s-maxage=0", others="s-maxage wins in a shared cache (RFC 9111, 5.2.2.10)."),
    _asked("expires-0", "Expires: 0", others="Not a date: expired (RFC 9111, 5.3)."),
    _asked("expires-minus-1", "Expires: -1", others="Not a date: expired."),
    _asked("expires-nonsense", "Expires: tomorrow", others="Not a date: expired."),
    _asked("age-list", "Cache-Control: max-age=60", "Age: 70, 0", others="The first of a list (RFC 9111, 5.1)."),
    _asked("two-ages", "Cache-Control: max-age=60", "Age: 70", "Age: 0", others="The first of a list."),
    _asked("age-beyond", "Cache-Control: max-age=60", "Age: 61", others="Stale as it comes."),
    _asked("age-beyond-2-to-the-31", "Cache-Control: max-age=60", "Age: 99999999999999", others="Very old (RFC 9111, 1.2.2)."),
    _asked("max-age-that-is-no-number", "Cache-Control: max-age=abc", others="Invalid: stale (RFC 9111, 4.2.1)."),
    _asked("max-age-empty", "Cache-Control: max-age=", others="Invalid: stale."),
    _asked("max-age-negative", "Cache-Control: max-age=-60", others="Invalid: stale."),
    _asked("max-age-0-and-expires", "Cache-Control: max-age=0", "Expires: Thu, 01 Jan 2099 00:00:00 GMT", others="max-age wins (RFC 9111, 5.3)."),
    _asked("max-age-in-an-extension", 'Cache-Control: x="max-age=60, public"', others="Inside quotes it is a value."),
    _kept("max-age", "Cache-Control: max-age=60", others="Fresh."),
    _kept("max-age-and-expired", "Cache-Control: max-age=60", "Expires: 0", others="max-age wins (RFC 9111, 5.3)."),
    _kept("s-maxage-alone", "Cache-Control: s-maxage=60, max-age=0", others="s-maxage wins in a shared cache."),
    _kept("age-0-list", "Cache-Control: max-age=60", "Age: 0, 70", others="The first of a list."),
    _kept("huge-max-age", "Cache-Control: max-age=99999999999999999999", others="As 2^31 (RFC 9111, 1.2.2)."),
    _kept("max-age-behind-17-kb", *_PAD, "Cache-Control: max-age=60", others="All headers are looked at.", kind="A8"),
    _kept("vary-on-the-same", "Cache-Control: max-age=60", "Vary: Accept-Encoding", others="The same request, the same answer.", kind="A8"),
]  # fmt: skip

QUIRKS = [*_PRIVATE, *_DATES, *_AGES]
