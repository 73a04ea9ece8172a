"""Settings from options, environment and files: read, checked, fitted to the machine, and shown."""

import argparse
import os
from collections.abc import Collection, Mapping
from typing import Any, Final, get_args, get_origin

import msgspec

from service.config import checks
from service.config.fitting import above_memory, fit_descriptors, fit_memory, size_of
from service.config.jwt_keys import jwt_keys
from service.config.settings import Settings
from service.ops.logs import printable
from service.ops.process import memory_limit
from service.runtime.bounded_files import CREDENTIALS, read_bounded
from service.work.pipelines.declaration import read_pipelines

__all__ = ["SettingsError", "add_options", "read_settings", "shown"]


_FILES: Final = frozenset({
    "token_file", "jwt_secret_file", "jwt_key", "tls_cert", "tls_key", "data", "blobs", "pipelines",
    "webhook_secret_file",
})  # fmt: skip
_LONGEST: Final = 600
"""Characters of a line."""


class SettingsError(Exception):
    """Settings that cannot be used: one line each, all of them at once."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each setting; what is not given stays out of the namespace."""
    for field in msgspec.structs.fields(Settings):
        kind, meta = get_args(field.type)
        if meta.extra:
            continue
        option, variable = "--" + field.name.replace("_", "-"), _variable(field.name)
        more: dict[str, Any] = {"default": argparse.SUPPRESS, "dest": field.name}
        if kind is bool:
            more["action"] = "store_true"
        else:
            more["metavar"] = field.name.split("_")[-1].upper()
        if get_origin(kind) is tuple:
            more["action"] = "append"
            shown = f"repeatable; default {','.join(field.default)}" if field.default else "repeatable"
        else:
            shown = f"default {_default(field.default)}"
        parser.add_argument(option, help=f"{meta.description} ({shown}; {variable})", **more)


def _default(value: object) -> object:
    return "none" if value is None else "off" if value is False else value


def read_settings(options: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings: an option wins over its environment variable, which wins over the default.

    Raises SettingsError with a line for everything that is wrong.
    """
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for field in msgspec.structs.fields(Settings):
        kind, meta = get_args(field.type)
        if meta.extra and meta.extra.get("found"):
            continue
        given = options.get(field.name, environ.get(_variable(field.name)))
        if given is None:
            continue
        if get_origin(kind) is tuple and isinstance(given, str):
            given = [part.strip() for part in given.split(",") if part.strip()]
        elif _is_size(field.name) and isinstance(given, str):
            given = size_of(given)
        try:
            _check_text(field.name, given)
            values[field.name] = msgspec.convert(given, field.type, strict=False)
        except (msgspec.ValidationError, ValueError) as error:
            wrong.append(f"--{field.name.replace('_', '-')}: {error}")
    settings, more = _read_token(_fitted(Settings(**values), values))
    wrong += more + _check(settings) + fit_descriptors(msgspec.structs.asdict(settings), values)[1]
    if wrong:
        raise SettingsError("\n".join(map(_one_line, wrong)))
    return settings


def _check_text(name: str, given: object) -> None:
    """Raise ValueError for characters that no value may have; only names of files may be other bytes than UTF-8."""
    for text in given if isinstance(given, list) else [given]:
        if not isinstance(text, str):
            continue
        if "\0" in text:
            raise ValueError("has a null character: take it out")
        if name not in _FILES and not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
            raise ValueError("is not UTF-8: write it in UTF-8, or in ASCII")


def _one_line(text: str) -> str:
    """Return one line, whose length is bounded and in which line breaks and control characters are escaped."""
    return printable(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…")


def _is_size(name: str) -> bool:
    return name.endswith("_size") or name == "memory_limit"


def _fitted(settings: Settings, given: Collection[str]) -> Settings:
    """Return the settings with what was not given as large as the machine allows."""
    memory = memory_limit(settings.memory_limit)
    values = msgspec.structs.asdict(settings)
    lower = fit_memory(values, given, memory)
    lower |= fit_descriptors(values | lower, given)[0]
    settings = msgspec.structs.replace(settings, **lower)
    values |= lower
    return msgspec.structs.replace(
        settings, fitted=tuple(lower), warnings=tuple(above_memory(values, given, memory))
    )


def shown(settings: Settings) -> str:
    """Return the settings as the environment that brings them about, secrets left out."""
    lines = []
    for name, value in msgspec.structs.asdict(settings).items():
        if name in ("fitted", "warnings"):
            continue
        if name in ("token", "jwt_secret", "celery") and value:
            text = "(not shown)"
        elif isinstance(value, tuple):
            text = ",".join(map(str, value))
        else:
            text = "" if value is None else str(int(value)) if isinstance(value, bool) else str(value)
        lines.append(f"{_variable(name)}={text}")
    return "\n".join(lines)


def _variable(name: str) -> str:
    return "SLUICE_" + name.upper()


def _read_token(settings: Settings) -> tuple[Settings, list[str]]:
    if settings.token_file is None:
        return settings, []
    if settings.token is not None:
        return settings, ["--token, --token-file: both are given: take one of them out"]
    try:
        token = read_bounded(settings.token_file, CREDENTIALS).decode().strip()
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return settings, [f"--token-file: {settings.token_file} cannot be read ({reason})"]
    if not token:
        return settings, [f"--token-file: {settings.token_file} is empty: write the token into it"]
    return msgspec.structs.replace(settings, token=token), []


def _check(settings: Settings) -> list[str]:
    wrong = checks.networks({name: getattr(settings, name) for name in ("allow_net", "trust_proxy", "exempt_net")})
    wrong += jwt_keys(settings)[1]
    guarded = settings.token or settings.token_file or settings.signed
    if not checks.is_loopback(settings.host) and not guarded and not settings.no_auth:
        wrong.append(
            f"--host: {settings.host} is reachable from elsewhere: set SLUICE_TOKEN, SLUICE_TOKEN_FILE or a "
            "--jwt-* key, or say --no-auth"
        )
    if settings.no_auth and guarded:
        wrong.append("--no-auth: there is a token, which would be needed all the same: take one of them out")
    if settings.ring_size > settings.rings_size:
        wrong.append("--ring-size: one topic may keep more than all together: raise --rings-size, or lower it")
    return [
        *wrong,
        *checks.webhook_secret(settings.webhook_secret_file),
        *checks.celery(settings.celery, settings.jobs),
        *checks.tls(settings.tls_cert, settings.tls_key),
        *checks.listening(settings.host, settings.port),
        *([] if settings.pipelines is None else read_pipelines(settings.pipelines)[1]),
        *checks.names(settings.allow_origin, settings.allow_host, settings.allow_method),
    ]
