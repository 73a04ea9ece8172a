"""The credentials that open the service: one static token, signed tokens, either, or none."""

import hmac
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from aiohttp import hdrs, web

from service.core.access.grants import EVERYTHING, STATIC, Grant
from service.core.errors import Unauthorized
from service.core.owner import Owner

__all__ = ["GRANT", "OWNER", "Credentials", "bearer"]

GRANT: Final = web.RequestKey("grant", Grant)
"""What the credentials of a request grant; set for every route that needs them."""
OWNER: Final = web.RequestKey("owner", Owner)
"""Who owns what is held for a request; set for every route."""


class Credentials:
    """The static token, which grants everything, and ``verify`` for signed ones; without both, all are let in."""

    def __init__(
        self,
        token: str | None = None,
        verify: Callable[[str], Grant] | None = None,
        *,
        shares_fetches: bool = True,
    ) -> None:
        self._everything = replace(EVERYTHING, shares_fetches=shares_fetches)
        self._static = replace(STATIC, shares_fetches=shares_fetches)
        self._token = token.encode() if token else None
        self._verify = verify

    def replace(self, other: "Credentials") -> None:
        """Take what the others have; who is connected already stays as long as its token said."""
        self._token, self._verify = other._token, other._verify
        self._everything, self._static = other._everything, other._static

    def __repr__(self) -> str:
        kinds = [name for name, kind in (("one token", self._token), ("signed tokens", self._verify)) if kind]
        return f"<Credentials {' and '.join(kinds) or 'not needed'}>"

    @property
    def needed(self) -> bool:
        """Whether a client has to show a token."""
        return self._token is not None or self._verify is not None

    def check(self, token: str | None) -> Grant:
        """Return what a token grants, or raise Unauthorized.

        The time does not tell how much of a wrong static token is right.
        """
        if not self.needed:
            return self._everything
        if token is None:
            raise Unauthorized("Authorization: a valid bearer token is needed")
        if self._token is not None and hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            return self._static
        if self._verify is None:
            raise Unauthorized("token: not valid")
        return self._verify(token)


def bearer(request: web.Request) -> str | None:
    """Return the token of the header ``Authorization`` (RFC 6750), or None."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
