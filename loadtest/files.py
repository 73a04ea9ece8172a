"""What runs take from files: users with their credentials, and the bodies of messages."""

import csv
from typing import Any

import orjson

from loadtest.headers import parse_headers
from service.runtime.bounded_files import read_bounded

__all__ = ["NOBODY", "User", "read_messages", "read_users"]

_MOST = 1_000_000
_LARGEST = 1 << 30
"""Bytes of a file of users or of messages."""
_HEADER = "header."
User = dict[str, Any]
"""``path``, ``headers`` as pairs, ``token``, ``login``, ``topics`` and ``messages`` (JSON), each maybe empty."""
NOBODY: User = {"path": "", "headers": [], "token": "", "login": "", "topics": [], "messages": []}


def read_users(path: str) -> list[User]:
    """Return the users of a CSV or JSONL file; raises ValueError with the line that is wrong."""
    text = _read("--users", path)
    first = text.lstrip()[:1]
    rows = [(number, row) for number, row in (_json_rows(path, text) if first == "{" else _csv_rows(text))]
    if not rows:
        raise ValueError(f"--users: {path} has no users")
    return [_user(path, number, row) for number, row in rows[:_MOST]]


def _json_rows(path: str, text: str) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                rows.append((number, dict(orjson.loads(line))))
            except (ValueError, TypeError):
                raise ValueError(f"--users: {path}, line {number}: not a JSON object") from None
    return rows


def _csv_rows(text: str) -> list[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(text.splitlines(), skipinitialspace=True)
    return [(reader.line_num, {name: value for name, value in row.items() if value}) for row in reader]


def _user(path: str, number: int, row: dict[str, Any]) -> User:
    where = f"--users: {path}, line {number}"
    headers = _mapping(row.get("headers"), where)
    headers |= {name.removeprefix(_HEADER): value for name, value in row.items() if str(name).startswith(_HEADER)}
    unknown = [name for name in row if name not in NOBODY and not str(name).startswith(_HEADER)]
    if unknown:
        raise ValueError(f"{where}: {unknown[0]!r} is not one of {', '.join(sorted(NOBODY))}, header.NAME")
    token = str(row.get("token") or "")
    try:
        pairs = parse_headers([f"{name}: {value}" for name, value in headers.items()], token)
        topics = [str(topic) for topic in _listed(row.get("topics"), "topics", " ")]
        messages = [_body(one) for one in _listed(row.get("messages"), "messages", "")]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return {
        "path": str(row.get("path") or ""), "headers": [list(pair) for pair in pairs], "token": token,
        "login": str(row.get("login") or ""), "topics": list(dict.fromkeys(topics)), "messages": messages,
    }  # fmt: skip


def _mapping(value: Any, where: str) -> dict[str, Any]:
    try:
        found = orjson.loads(value) if isinstance(value, str) and value else value or {}
        return dict(found)
    except (ValueError, TypeError):
        raise ValueError(f"{where}: headers is not a JSON object") from None


def _listed(value: Any, name: str, separator: str) -> list[Any]:
    """Return a list that may stand in a cell as JSON, or as texts with a separator; raises ValueError."""
    if not value:
        return []
    if isinstance(value, str):
        if not value.startswith("["):
            return value.split(separator) if separator else [value]
        try:
            value = orjson.loads(value)
        except ValueError:
            raise ValueError(f"{name}: {value[:40]!r} is not a JSON list") from None
    if not isinstance(value, list):
        raise ValueError(f"{name}: has to be a list")
    return value


def read_messages(path: str) -> list[str]:
    """Return the bodies of a file as JSON; a line that is not JSON is a string. Raises ValueError."""
    bodies = [_body(line) for line in _read("--messages", path).splitlines() if line.strip()]
    if not bodies:
        raise ValueError(f"--messages: {path} has no messages")
    return bodies[:_MOST]


def _body(line: Any) -> str:
    if not isinstance(line, str):
        return orjson.dumps(line).decode()
    try:
        orjson.loads(line)
    except ValueError:
        return orjson.dumps(line).decode()
    return line.strip()


def _read(option: str, path: str) -> str:
    try:
        return read_bounded(path, _LARGEST, pipes=True).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{option}: {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
