"""Headers from the command line, and the token: read, checked, and never shown."""

import os
import re
from argparse import Namespace
from collections.abc import Sequence

from service.runtime.bounded_files import CREDENTIALS, read_bounded

__all__ = ["TOKEN_VARIABLE", "Headers", "parse_headers", "settle_token"]

Headers = tuple[tuple[str, str], ...]
"""Names and values in the order in which they were given; a name may come again."""

TOKEN_VARIABLE = "LOADTEST_TOKEN"  # noqa: S105 - the name of a variable
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_OURS = frozenset({
    "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "upgrade", "connection",
    "content-length", "transfer-encoding",
})  # fmt: skip


def parse_headers(texts: Sequence[str], token: str = "") -> Headers:
    """Return the headers of ``Name: value`` texts and a bearer token; raises ValueError."""
    headers = tuple(_header(text) for text in texts)
    if not token:
        return headers
    if any(name.lower() == "authorization" for name, _ in headers):
        raise ValueError("--token: there is a --header Authorization, too; give one of them")
    return (*headers, ("Authorization", f"Bearer {token}"))


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    # The value is not shown: it may be a secret.
    if not colon or not _NAME.fullmatch(name.strip()):
        raise ValueError(f"--header: {name[:40]!r} is not like Name: value")
    name, value = name.strip(), value.strip()
    if _CONTROL.search(value):
        raise ValueError(f"--header: {name} has a control character in its value")
    if name.lower() in _OURS:
        raise ValueError(f"--header: {name} is set by the handshake itself; leave it out")
    return name, value


def settle_token(options: Namespace) -> None:
    """Set ``options.token`` from where it was put; raises ValueError."""
    given = [name for name in ("token", "token_file", "token_env") if getattr(options, name)]
    if len(given) > 1:
        raise ValueError(f"--{given[1].replace('_', '-')}: there is a --{given[0].replace('_', '-')}, too")
    if options.token_file:
        options.token = _from_file(options.token_file)
    elif options.token_env:
        options.token = os.environ.get(options.token_env, "")
        if not options.token:
            raise ValueError(f"--token-env: there is no variable {options.token_env}, or it is empty")
    elif not options.token and not any(text.lower().startswith("authorization:") for text in options.header):
        options.token = os.environ.get(TOKEN_VARIABLE, "")
    if not options.token.isprintable():
        raise ValueError("--token: has a control character; a token is one line")
    if not options.token.isascii() or " " in options.token:
        raise ValueError("--token: a token has only ASCII characters and no spaces")


def _from_file(path: str) -> str:
    try:
        token = read_bounded(path, CREDENTIALS, pipes=True).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--token-file: {path} cannot be read: {getattr(error, 'strerror', error)}") from None
    if not token:
        raise ValueError(f"--token-file: {path} is empty")
    return token
