"""``sluice token``: a signed token for trying out what clients may do with it."""

import argparse
import os
import re
import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from service.core.access.grants import ClientLimits, read_claims
from service.core.errors import Unauthorized

if TYPE_CHECKING:
    from service.edge.access.tokens import SigningKey

__all__ = ["add_options", "token"]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add("--key", metavar="FILE", help="sign with this private key (PEM): RS256 or ES256, by the key's type")
    add("--secret-file", metavar="FILE", help="sign with the first secret in this file: HS256 (default: "
        "SLUICE_JWT_SECRET or SLUICE_JWT_SECRET_FILE)")  # fmt: skip
    add("--kid", metavar="NAME", help="key id: the name of its public file without its extension")
    add("--sub", metavar="NAME", help="who the client is: its connections share turns and keys")
    add("--expires", metavar="TIME", type=_seconds, default=3600, help="30s, 15m, 1h, 7d, … (default 1h)")
    for claim, what in (("subscribe", "read"), ("publish", "written")):
        add(f"--{claim}", metavar="PATTERN", action="append", default=[],
            help=f"topic that may be {what}, or the beginning of names with * after it; repeatable")  # fmt: skip
    for claim, what in (("fetch", "fetched"), ("watch", "watched")):
        add(f"--{claim}", metavar="HOST", action="append", default=[],
            help=f"host that may be {what}, *.HOST for all below it, or all; repeatable")  # fmt: skip
    add("--job", metavar="KIND", action="append", default=[],
        help="jobs that may be made: call, publish, fetch, run, run:NAME, run:BEGINNING*, or all; "
        "repeatable")  # fmt: skip
    add("--topics", type=int, metavar="N", help="topics of the client, in place of --client-topics of serve")
    add("--rate", type=float, metavar="N", help="requests a second, in place of --client-rate")
    add("--fetches", type=int, metavar="N", help="fetches at once, in place of --upstream-client")
    add("--weight", type=float, metavar="N", help="weight of the client: how many times the usual share it has")
    add("--share", choices=("public", "none"), help="whether it shares fetches, in place of --share of serve")
    add("--audience", metavar="AUD", help="default: SLUICE_JWT_AUDIENCE")
    add("--issuer", metavar="ISS", help="default: SLUICE_JWT_ISSUER")


def token(options: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> int:
    """Print a token; return the exit code."""
    from service.edge.access import tokens

    claims = _claims(options, environ)
    try:
        granted = read_claims(claims, ClientLimits())
        text = tokens.sign(claims, _key(options, environ), options.kid)
    except Unauthorized as error:
        return _wrong(error.detail.removeprefix("token: "))
    except tokens.UnusableKey as error:
        return _wrong(str(error))
    if len(text) > tokens.LONGEST:
        return _wrong(f"the token has {len(text)} characters, and at most {tokens.LONGEST} are taken")
    claims_of = (granted.subscribe[1:], granted.publish[1:], granted.fetch[1:], granted.watch[1:], granted.jobs)
    if not any(map(any, claims_of)):
        sys.stderr.write("sluice: this token grants nothing: see --subscribe, --publish, --fetch, --watch, --job\n")
    sys.stdout.write(text + "\n")
    return 0


def _wrong(text: str) -> int:
    sys.stderr.write(f"sluice: {text}\n")
    return 2


def _key(options: argparse.Namespace, environ: Mapping[str, str]) -> "SigningKey":
    """Return what to sign with; raise UnusableKey that names where it came from."""
    from service.edge.access import tokens

    secrets_file = partial(tokens.secrets_file, pipes=True)
    for source, given, read in (
        ("--key", options.key, tokens.private_key),
        ("--secret-file", options.secret_file, secrets_file),
        ("SLUICE_JWT_SECRET", environ.get("SLUICE_JWT_SECRET"), tokens.secrets),
        ("SLUICE_JWT_SECRET_FILE", environ.get("SLUICE_JWT_SECRET_FILE"), secrets_file),
    ):
        if given:
            try:
                return read(given)[0]
            except tokens.UnusableKey as error:
                raise tokens.UnusableKey(f"{source}: {error}") from None
    raise tokens.UnusableKey("nothing to sign with: give --key or --secret-file, or set SLUICE_JWT_SECRET")


def _claims(options: argparse.Namespace, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the claims, without those that say nothing."""
    now = int(time.time())
    limits = {name: getattr(options, name) for name in ("topics", "rate", "fetches", "weight")}
    claims = {
        "iss": options.issuer or environ.get("SLUICE_JWT_ISSUER"),
        "aud": options.audience or environ.get("SLUICE_JWT_AUDIENCE"),
        "sub": options.sub,
        "iat": now,
        "exp": now + options.expires,
        "subscribe": options.subscribe,
        "publish": options.publish,
        "fetch": True if "all" in options.fetch else options.fetch,
        "watch": True if "all" in options.watch else options.watch,
        "jobs": True if "all" in options.job else options.job,
        "share": options.share,
        "limits": {name: limit for name, limit in limits.items() if limit is not None},
    }
    return {name: claim for name, claim in claims.items() if claim not in (None, [], {})}


def _seconds(text: str) -> int:
    """Read a time with its unit."""
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    if not found or not int(found[1]):
        raise argparse.ArgumentTypeError("a number and s, m, h or d, such as 1h")
    return int(found[1]) * _UNITS[found[2]]
