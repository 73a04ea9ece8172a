"""What the settings mean to credentials: the tokens that are taken, and the limits that they may name."""

from service.config.settings import Settings, jwt_keys
from service.core.access.grants import ClientLimits
from service.edge.access.credentials import Credentials

__all__ = ["credentials_of"]


def credentials_of(settings: Settings) -> Credentials:
    """Return what clients' tokens are checked with."""
    if not settings.signed:
        return Credentials(settings.token)
    from service.edge.access.tokens import Tokens  # not before: what it imports takes 10 MiB

    most = ClientLimits(
        topics=int(settings.client_topics * settings.jwt_raise),
        rate=settings.client_rate * settings.jwt_raise,
        fetches=min(int(settings.upstream_client * settings.jwt_raise), settings.upstream),
    )
    keys, _ = jwt_keys(settings)
    tokens = Tokens(
        keys, audience=settings.jwt_audience, issuer=settings.jwt_issuer, leeway=settings.jwt_leeway, most=most
    )
    return Credentials(settings.token, tokens.verify)
