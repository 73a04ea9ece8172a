"""Which token a client shows, and when it needs another. The clock is an argument."""

import base64
import binascii
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

__all__ = ["Credentials", "Token", "expires_of"]

Token = str | Callable[[], str | Awaitable[str | None] | None]
"""A token, or a function that returns the one of now."""

_LEAD = 30.0
"""Seconds before its end at which a token is renewed, or half of what it has left where that is less."""


class Credentials:
    """The tokens of one client: the newest one wins, and a function stays.

    A token that ``authenticate`` was given counts from that moment on, and until the service has refused it: then
    the one before it is back, or the function is asked.
    """

    def __init__(self, token: Token | None) -> None:
        if not (token is None or isinstance(token, str) or callable(token)):
            raise TypeError(f"token: a text or a function is expected, not {type(token).__name__}")
        self._source = token if callable(token) else None
        self._fixed = None if callable(token) else token
        self._candidate: str | None = None
        self.shown: str | None = None
        """What the last connection was opened with, or got since."""
        self.expires: float | None = None
        """When that ends, in seconds of the Unix epoch; None where it is not known."""

    def __repr__(self) -> str:
        return f"<Credentials {'from a function' if self._source else 'fixed' if self._fixed else 'none'}>"

    @property
    def renewable(self) -> bool:
        """Whether there is a function to ask for another token."""
        return self._source is not None

    async def current(self) -> str | None:
        """Return the token to show now; raises what the function raises."""
        return self._candidate or self._fixed or await self.ask()

    async def ask(self) -> str | None:
        """Return what the function says now, None without one."""
        if self._source is None:
            return None
        token = self._source()
        return await token if inspect.isawaitable(token) else token

    def propose(self, token: str) -> None:
        """Take a newer token, which the service has not seen yet."""
        self._candidate = token

    def confirm(self, token: str, expires: float | None) -> None:
        """Note that the service took it; where there is a function, what comes from that is asked for again."""
        self.shown, self.expires = token, expires
        if self._candidate in (token, None):
            self._fixed, self._candidate = token, None

    def renewed(self, token: str, expires: float | None) -> None:
        """Note that the service took a token of the function's, which is the newest one."""
        self.shown, self.expires, self._fixed = token, expires, None

    def withdraw(self, token: str) -> None:
        """Note that the service did not take it."""
        if self._candidate == token:
            self._candidate = None

    def refused(self) -> bool:
        """Note that the shown token was refused or has ended; return whether there may be another."""
        shown, self.shown, self.expires = self.shown, None, None
        if self._candidate is not None and self._candidate == shown:
            self._candidate = None
            return self.renewable or self._fixed is not None
        if self.renewable:
            self._fixed = None if self._fixed == shown else self._fixed
            return True
        return (self._candidate or self._fixed) not in (shown, None)

    def renew_in(self, now: float) -> float | None:
        """Return in how many seconds the function has to be asked; None for never."""
        if self.expires is None or not self.renewable:
            return None
        left = max(0.0, self.expires - now)
        return left - min(_LEAD, left / 2)

    def show(self, token: str | None) -> None:
        """Note what a new connection is opened with."""
        self.shown = token
        self.expires = _expiry(token) if token else None


def expires_of(answer: dict[str, Any]) -> float | None:
    """Return when credentials end that the service has taken, in seconds of the Unix epoch; None for never."""
    return _seconds(answer.get("expires"))


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _expiry(token: str) -> float | None:
    """Read ``exp`` of a signed token (RFC 7519, section 4.1.4); for other texts the end is not known."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    return _seconds(claims.get("exp")) if isinstance(claims, dict) else None
