"""What the settings mean to credentials: the tokens that are taken, and the limits that they may name."""

from service.config.jwt_keys import jwt_keys
from service.config.settings import Settings
from service.core.access.grants import ClientLimits
from service.edge.access.credentials import Credentials

__all__ = ["credentials_of"]


def credentials_of(settings: Settings) -> Credentials:
    """Return what clients' tokens are checked with."""
    if not settings.signed:
        return Credentials(settings.token, shares_fetches=settings.share == "public")
    from service.edge.access.tokens import Tokens  # not before: what it imports takes 10 MiB

    most = ClientLimits(
        topics=int(settings.client_topics * settings.jwt_raise),
        rate=settings.client_rate * settings.jwt_raise,
        fetches=min(int(settings.upstream_client * settings.jwt_raise), settings.upstream),
        weight=settings.jwt_raise,
    )
    keys, _ = jwt_keys(settings)
    tokens = Tokens(
        keys,
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
        leeway=settings.jwt_leeway,
        most=most,
        shares_fetches=settings.share == "public",
    )
    return Credentials(settings.token, tokens.verify, shares_fetches=settings.share == "public")
