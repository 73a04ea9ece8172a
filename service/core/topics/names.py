"""Which names a topic may have, and which of them only the service itself writes."""

import re

from service.core.errors import Forbidden, InvalidParams

__all__ = ["NAME", "RESERVED", "check_name", "check_writable", "is_reserved", "is_watch", "shown"]

RESERVED = ("batch:", "watch:", "job:", "_")
"""Topics with these prefixes are made and written by the service alone."""

# 255 as in Centrifugo; no space and no '*', so that lists and patterns of names stay unambiguous.
NAME = re.compile(r"[!-)+-~]{1,255}")


def is_reserved(name: str) -> bool:
    """Return whether only the service makes and writes this topic."""
    return name.startswith(RESERVED)


def is_watch(name: str) -> bool:
    """Return whether this is the topic of a watched URL."""
    return name.startswith("watch:")


def check_name(name: str) -> None:
    """Raise InvalidParams unless the name is 1 to 255 printable ASCII characters without space and ``*``."""
    if not NAME.fullmatch(name):
        raise InvalidParams("topic: a name has 1 to 255 printable ASCII characters, without space and *")


def check_writable(name: str) -> None:
    """Raise Forbidden for a name that the service alone writes."""
    check_name(name)
    if is_reserved(name):
        raise Forbidden(f"topic: {name.split(':')[0][:20]}… is written by the service alone")


def shown(name: str) -> str:
    """Return what the log calls a topic: who knows the whole id of a batch or job can read and cancel it."""
    kind, colon, rest = name.partition(":")
    return f"{kind}:{rest[:6]}…" if colon and kind in ("batch", "job") else name
