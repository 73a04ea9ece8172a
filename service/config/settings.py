"""Every setting, once: its option, its environment variable, its default and its help."""

import argparse
import os
import ssl
from collections.abc import Callable, Collection, Mapping
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args, get_origin

import msgspec

from service.config import checks
from service.config.fitting import above_memory, fit_descriptors, fit_memory, size_of
from service.core.fetching.dial_policy import Network
from service.ops.process import memory_limit

if TYPE_CHECKING:
    from service.edge.access.tokens import Key

__all__ = ["Settings", "SettingsError", "add_options", "jwt_keys", "read_settings", "shown", "tls_context"]


class SettingsError(Exception):
    """Settings that cannot be used: one line each, all of them at once."""


_Help = msgspec.Meta

_PRIVATE: Final = (
    "127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16",
    "fc00::/7", "fe80::/10",
)  # fmt: skip
"""Where load balancers and programs of one's own are: loopback, private, shared and link-local addresses."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of ``serve``; sizes in bytes, times in seconds."""

    host: Annotated[str, _Help(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, _Help(ge=0, le=65535, description="port to listen on; 0 takes a free one")] = 8080
    token: Annotated[str | None, _Help(description="the token that clients have to show")] = None
    token_file: Annotated[str | None, _Help(description="a file with the token")] = None
    jwt_secret: Annotated[str | None, _Help(extra={"variable_only": True})] = None
    """The secrets of ``jwt_secret_file``, given in the environment; an option would show up in process lists."""
    jwt_secret_file: Annotated[
        str | None, _Help(description="a file with secrets of HS256 tokens, one a line, or SLUICE_JWT_SECRET")
    ] = None
    jwt_key: Annotated[
        tuple[str, ...], _Help(description="a file with the public key (PEM) of RS256 or ES256 tokens")
    ] = ()
    jwt_issuer: Annotated[str | None, _Help(description="the iss that signed tokens have to have")] = None
    jwt_audience: Annotated[str | None, _Help(description="the aud that signed tokens have to have")] = None
    jwt_leeway: Annotated[
        float, _Help(ge=0, le=300, description="allowed clock skew of the token issuer, in seconds")
    ] = 5.0
    jwt_raise: Annotated[
        float, _Help(ge=1, le=1000, description="times a setting for one client that a token's limits may have")
    ] = 1.0
    no_auth: Annotated[bool, _Help(description="listen beyond loopback without credentials")] = False
    allow_net: Annotated[tuple[str, ...], _Help(description="network that fetches may reach too")] = ()
    allow_port: Annotated[
        tuple[int, ...], _Help(description="port that fetches may use beside 80, 443, 8080 and 8443")
    ] = ()
    allow_method: Annotated[tuple[str, ...], _Help(description="method of fetches beside GET and HEAD")] = ()
    allow_origin: Annotated[tuple[str, ...], _Help(description="page elsewhere that may use the service")] = ()
    allow_host: Annotated[tuple[str, ...], _Help(description="name that clients may call the service by")] = ()
    tls_cert: Annotated[str | None, _Help(description="certificate chain (PEM)")] = None
    tls_key: Annotated[str | None, _Help(description="private key (PEM)")] = None
    echo_route: Annotated[bool, _Help(description="add /echo and POST /, for conformance suites")] = False
    trust_proxy: Annotated[tuple[str, ...], _Help(description="network of proxies that name their clients")] = ()
    exempt_net: Annotated[tuple[str, ...], _Help(description="network without limits by address")] = _PRIVATE
    address_connections: Annotated[int, _Help(ge=1, description="connections at once of one address")] = 1000
    address_handshakes: Annotated[
        float,
        _Help(gt=0, description="handshakes a second of one address"),
    ] = 100.0
    address_requests: Annotated[float, _Help(gt=0, description="other requests a second of one address")] = 1000.0
    websockets: Annotated[int, _Help(ge=1, description="WebSocket connections at once")] = 10_000
    connections: Annotated[int, _Help(ge=1, description="other requests at once")] = 500
    message_size: Annotated[int, _Help(ge=128, description="bytes of a message to the service")] = 64 << 10
    client_topics: Annotated[int, _Help(ge=1, description="topics of one client")] = 128
    client_rate: Annotated[float, _Help(gt=0, description="requests a second of one client")] = 1000.0
    client_bytes: Annotated[int, _Help(ge=1024, description="bytes a second of one client")] = 8 << 20
    topics: Annotated[int, _Help(ge=1, description="topics at once")] = 200_000
    ring_messages: Annotated[int, _Help(ge=1, description="messages that a topic keeps")] = 1000
    ring_size: Annotated[int, _Help(ge=1024, description="bytes that a topic keeps")] = 1 << 20
    ring_age: Annotated[float, _Help(gt=0, description="seconds that a topic keeps a message")] = 300.0
    rings_size: Annotated[int, _Help(ge=1024, description="bytes that all topics keep together")] = 256 << 20
    backlogs_size: Annotated[int, _Help(ge=1024, description="bytes that wait for slow clients together")] = (
        256 << 20
    )
    batch_urls: Annotated[int, _Help(ge=1, description="URLs of one batch")] = 10_000
    batch_size: Annotated[int, _Help(ge=1024, description="bytes of a request for a batch")] = 16 << 20
    batches_size: Annotated[int, _Help(ge=1024, description="bytes of results kept for all batches")] = 256 << 20
    batch_age: Annotated[float, _Help(gt=0, description="seconds that a finished batch is kept")] = 600.0
    batch_linger: Annotated[
        float, _Help(ge=0, description="seconds that a WebSocket's batch waits for a reader")
    ] = 60.0
    upstream: Annotated[int, _Help(ge=1, description="fetches at once")] = 500
    upstream_client: Annotated[int, _Help(ge=1, description="fetches at once of one client")] = 250
    upstream_host: Annotated[int, _Help(ge=1, description="fetches at once from one host")] = 20
    robots: Annotated[bool, _Help(description="heed the robots.txt of hosts (RFC 9309), as sluice")] = False
    watches: Annotated[int, _Help(ge=1, description="URLs watched at once")] = 20_000
    cache_size: Annotated[int, _Help(ge=0, description="bytes of answers kept for their time; 0 keeps none")] = (
        64 << 20
    )
    memory_limit: Annotated[
        int,
        _Help(ge=0, description="bytes it may have, or 512MiB and the like; 0 takes the system's limit"),
    ] = 0
    overload_lag: Annotated[
        float,
        _Help(ge=0, description="seconds late from which on clients are refused"),
    ] = 2.0
    handshake_time: Annotated[float, _Help(gt=0, description="seconds for a connection's next request")] = 15.0
    auth_time: Annotated[
        float,
        _Help(ge=0, description="seconds to authenticate in without a token"),
    ] = 0.0
    heartbeat: Annotated[float, _Help(gt=0, description="seconds between two signs of life")] = 25.0
    body_time: Annotated[float, _Help(gt=0, description="seconds that a request's body may take")] = 10.0
    drain: Annotated[float, _Help(ge=0, description="seconds for clients to leave when it stops")] = 10.0
    log_format: Annotated[
        Literal["auto", "text", "json"], _Help(description="text, json, or auto: text for a terminal, else json")
    ] = "auto"

    fitted: Annotated[tuple[str, ...], _Help(extra={"found": True})] = ()
    """The settings that are lower than their default, as the machine has too little for that."""
    warnings: Annotated[tuple[str, ...], _Help(extra={"found": True})] = ()
    """What was set and may well be too much for the machine."""

    def __repr__(self) -> str:
        """Show no secret where an object is shown."""
        return f"<Settings {self.host}:{self.port}>"

    @property
    def signed(self) -> bool:
        """Whether signed tokens are taken."""
        return self.jwt_secret is not None or self.jwt_secret_file is not None or bool(self.jwt_key)

    @property
    def nets(self) -> tuple[Network, ...]:
        """``allow_net`` as networks."""
        return tuple(ip_network(text) for text in self.allow_net)


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
            shown = f"default {field.default}" if field.default not in (None, False) else "default none"
        parser.add_argument(option, help=f"{meta.description} ({shown}; {variable})", **more)


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
            values[field.name] = msgspec.convert(given, field.type, strict=False)
        except msgspec.ValidationError as error:
            wrong.append(f"--{field.name.replace('_', '-')}: {error}")
    settings, more = _read_token(_fitted(Settings(**values), values))
    wrong += more + _check(settings) + fit_descriptors(msgspec.structs.asdict(settings), values)[1]
    if wrong:
        raise SettingsError("\n".join(wrong))
    return settings


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
        if name in ("token", "jwt_secret") and value:
            text = "(not shown)"
        elif isinstance(value, tuple):
            text = ",".join(map(str, value))
        else:
            text = "" if value is None else str(int(value)) if isinstance(value, bool) else str(value)
        lines.append(f"{_variable(name)}={text}")
    return "\n".join(lines)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the context to listen with, or None; raises OSError for files that do not fit."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return checks.tls_context(settings.tls_cert, settings.tls_key)


def jwt_keys(settings: Settings) -> tuple[list["Key"], list[str]]:
    """Return the keys that signed tokens are verified with, and a line for each that cannot be used."""
    if not settings.signed:
        return [], []
    from service.edge.access import tokens

    keys: list[Key] = []
    wrong: list[str] = []
    given: list[tuple[str, Callable[[], list[Key]]]] = []
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


def _variable(name: str) -> str:
    return "SLUICE_" + name.upper()


def _read_token(settings: Settings) -> tuple[Settings, list[str]]:
    if settings.token_file is None:
        return settings, []
    if settings.token is not None:
        return settings, ["--token, --token-file: both are given: take one of them out"]
    try:
        token = Path(settings.token_file).read_text().strip()
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
        *checks.tls(settings.tls_cert, settings.tls_key),
        *checks.listening(settings.host, settings.port),
        *checks.names(settings.allow_origin, settings.allow_host, settings.allow_method),
    ]
