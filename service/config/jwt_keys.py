"""The keys that signed tokens are verified with, read from the files and the variable that the settings name."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from service.config.settings import Settings

if TYPE_CHECKING:
    from service.edge.access.tokens import SigningKey

__all__ = ["jwt_keys"]


def jwt_keys(settings: Settings) -> tuple[list["SigningKey"], list[str]]:
    """Return the keys that signed tokens are verified with, and a line for each that cannot be used."""
    if not settings.signed:
        return [], []
    from service.edge.access import tokens

    keys: list[SigningKey] = []
    wrong: list[str] = []
    given: list[tuple[str, Callable[[], list[SigningKey]]]] = []
    if settings.jwt_secret is not None:
        given.append(("SLUICE_JWT_SECRET", partial(tokens.secrets, settings.jwt_secret)))
    if settings.jwt_secret_file is not None:
        given.append(("--jwt-secret-file", partial(tokens.secrets_file, settings.jwt_secret_file)))
    given += [(f"--jwt-key: {name}", partial(tokens.public_key, name)) for name in settings.jwt_key]
    for source, read in given:
        try:
            keys += read()
        except tokens.UnusableKey as error:
            wrong.append(f"{source}: {error}")
    if len(keys) > tokens.MOST_KEYS:
        wrong.append(f"--jwt-key, --jwt-secret-file: {len(keys)} keys, and at most {tokens.MOST_KEYS} are taken")
    return keys, wrong
