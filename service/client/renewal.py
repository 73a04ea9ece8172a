"""Tokens from a function: asked for in time, and again while they are not taken."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from .backoff import Advice, Backoff
from .connection import Connection, Cut
from .credentials import Credentials, expires_of
from .encoding import encode
from .errors import Refused
from .transport import Unreachable

__all__ = ["Renewal"]

_log = logging.getLogger("sluice.client")

_SOON: Final = 1.0
"""Seconds until the next renewal below which the delay of a renewal that failed counts."""
_ASKING: Final = 10.0
"""Seconds for a function that returns a token."""


class Renewal:
    """Shows another token before the one of a connection ends, as long as there is a function to ask.

    ``authenticated`` is called with the service's answer to each.
    """

    def __init__(self, credentials: Credentials, authenticated: Callable[[dict[str, Any]], None]) -> None:
        self.changed = asyncio.Event()
        """Set when the connection has got other credentials, and another time to renew them."""
        self._credentials = credentials
        self._authenticated = authenticated

    async def token(self, *, asked: bool = False) -> str | None:
        """Return the token of now, or with ``asked`` what the function says; raises Unreachable where it fails."""
        try:
            async with asyncio.timeout(_ASKING):
                token = await (self._credentials.ask() if asked else self._credentials.current())
            if token is not None and not isinstance(token, str):
                raise TypeError(f"a token is a text, not {type(token).__name__}")
            return token
        except Exception as error:
            raise Unreachable(f"the token function failed: {error!r}") from error

    async def run(self, connection: Connection) -> None:
        """Renew the token of a connection until cancelled."""
        backoff = Backoff(1.0)
        while True:
            self.changed.clear()
            try:
                async with asyncio.timeout(self._credentials.renew_in(time.time())):
                    await self.changed.wait()
            except TimeoutError:
                if not await self._try(connection):
                    await asyncio.sleep(backoff.delay(Advice.LATER))

    async def _try(self, connection: Connection) -> bool:
        """Renew once; an error costs this attempt alone, and a cut is for the connection's owner to see."""
        try:
            return await self._once(connection)
        except Exception:
            _log.exception("internal error in the renewal of a token")
            return False

    async def _once(self, connection: Connection) -> bool:
        """Show the function's token; return whether it need not be renewed at once again.

        It has to where the function has no newer one, or the clock here is ahead of the service's.
        """
        before = self._credentials.expires or 0.0
        try:
            token = await self.token(asked=True)
            if not token:
                return False
            answer = await connection.call("authenticate", encode({"token": token}))
        except (Unreachable, Refused) as error:
            _log.warning("the token was not renewed: %s", error)
            return False
        except Cut:
            return False
        expires = expires_of(answer)
        self._credentials.renewed(token, expires)
        self._authenticated(answer)
        due = self._credentials.renew_in(time.time())
        return expires is None or due is None or (expires > before and due >= _SOON)
