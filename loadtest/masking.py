"""Secrets stay out of reports, pages, terminals and logs: tokens, cookies, keys, passwords in URLs."""

import html
import json
import re
import shlex
from argparse import Namespace
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

__all__ = ["MASK", "Secrets", "public_options"]

MASK = "***"
_SENSITIVE = re.compile(
    r"auth|cookie|token|key|secret|passw|session|credential|signature|jwt|csrf|xsrf", re.IGNORECASE
)
_PARAMETER = re.compile(r"^(sig|key|pwd)$|" + _SENSITIVE.pattern, re.IGNORECASE)
_URLS = ("publish_path", "origin")
_PAIR = re.compile(r"""["']?([\w-]+)["']?\s*[:=]\s*["']([^"']+)["']""")
"""A name and its value inside a message of the command line."""
_SHORTEST = 4
"""Characters of a secret that is looked for in any text; a shorter one would hide innocent words."""


class Secrets:
    """What must not be shown."""

    def __init__(self, options: Namespace | None = None) -> None:
        found = set(_secrets(options)) if options is not None else set()
        self._forms = {form for secret in found if len(secret) >= _SHORTEST for form in _forms(secret)}
        longest = sorted(self._forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest))) if longest else None

    def masked(self, text: str) -> str:
        """Return a text without any of them."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def document(self, value: Any) -> Any:
        """Return a JSON document without any of them; encoded histograms are left as they are."""
        if isinstance(value, str):
            return self.masked(value)
        if isinstance(value, dict):
            return {
                self.masked(key): inner if key == "histograms" else self.document(inner)
                for key, inner in value.items()
            }
        return [self.document(inner) for inner in value] if isinstance(value, list) else value

    def command(self, arguments: Sequence[str]) -> str:
        """Return a command line without the values of ``--token`` and of sensitive headers, however short."""
        shown, option = [], ""
        for argument in arguments:
            name, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", "")
            if name and equals:
                shown.append(f"{name}={_argument(name, value)}")
            else:
                shown.append(argument if name or argument.startswith("--") else _argument(option, argument))
            option = argument if argument.startswith("--") and not equals else ""
        return self.masked(shlex.join(shown))


def _argument(option: str, value: str) -> str:
    if option and "--token".startswith(option) and len(option) > len("--to"):
        return MASK
    if option and "--header".startswith(option) and len(option) > len("--h"):
        name, colon, _ = value.partition(":")
        return f"{name}: {MASK}" if colon and _SENSITIVE.search(name) else value
    return value


def _secrets(options: Namespace) -> Iterator[str]:
    yield options.token
    for text in options.header:
        name, _, value = text.partition(":")
        if _SENSITIVE.search(name):
            yield value.strip()
            yield from re.split(r"[\s;,]+|(?<=[A-Za-z])=(?=.)", value.strip())[1:]
    for user in getattr(options, "user_rows", ()):
        for name, value in user["headers"]:
            if _SENSITIVE.search(name):
                yield value
                yield value.rpartition(" ")[2]
    paths = [user["path"] for user in getattr(options, "user_rows", ())]
    for url in (options.url, options.path, *(getattr(options, name, "") for name in _URLS), *paths):
        yield from _of_url(url)
    yield from _of_templates(getattr(options, "join", ""), getattr(options, "say", ""))
    yield from _of_command(getattr(options, "crash", ""))


def _of_templates(*templates: str) -> Iterator[str]:
    for template in templates:
        for name, value in _PAIR.findall(template):
            if _SENSITIVE.search(name) and "{" not in value:
                yield value


def _of_command(command: str) -> Iterator[str]:
    """Yield what options and variables of a command have that are named like secrets."""
    try:
        words = [*shlex.split(command), ""]
    except ValueError:  # it is refused before anything is run
        return
    for word, after in pairwise(words):
        name, equals, value = word.partition("=")
        if (equals or name.startswith("-")) and _SENSITIVE.search(name) and not name.lower().endswith("file"):
            yield value if equals else after


def _of_url(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        password = parts.password
    except ValueError:
        return
    if password:
        yield password
        yield unquote(password)
    for name, value in parse_qsl(parts.query):
        if _PARAMETER.search(name):
            yield value


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret as it may stand in a text: plain, in JSON, in HTML, in a URL."""
    yield secret
    yield json.dumps(secret)[1:-1]
    yield html.escape(secret)
    yield quote(secret, safe="")
    yield quote(secret)


def public_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that describe a load, for the report: no secrets, no paths of results."""
    hidden = {
        "token",
        "token_file",
        "token_env",
        "header",
        "json",
        "html",
        "junit",
        "openmetrics",
        "csv",
        "metrics_port",
        "metrics_host",
        "live_port",
        "live_host",
        "quiet",
        "threshold",
        "run",
    }
    plain = (str, int, float, bool, type(None))
    return {
        name: value for name, value in sorted(options.items()) if name not in hidden and isinstance(value, plain)
    }
