"""Signed tokens (JWT, RFC 7519): their keys, and what a token grants whose signature is right.

Theory of operation. A key has one algorithm, decided when it is read: a secret is for HS256, an RSA key for
RS256, a P-256 key for ES256. A token says how it was signed; it is held against the keys of that algorithm
and no others, so that no public key ever serves as a secret, and ``none`` is an algorithm without keys.

What needs no key is refused first, because strangers can send anything: length, characters, form, algorithm.
What is left costs a signature, 45 to 120 us with all around it: as much as a request or two, and less than a
WebSocket's upgrade, so it is verified on the loop (docs/decisions/12-signed-tokens.md). A token that was right is
remembered by its digest.

This module alone imports PyJWT and cryptography: 10 MiB, which a service without signed tokens does not need.
"""

import re
import time
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import jwt
import msgspec
from cachetools import LRUCache
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from service.core.access.grants import ClientLimits, Grant, read_claims
from service.core.errors import Unauthorized
from service.runtime.bounded_files import CREDENTIALS, read_bounded

__all__ = ["LONGEST", "MOST_KEYS", "SigningKey", "Tokens", "TokensStatistics", "UnusableKey", "private_key",
           "public_key", "secrets", "secrets_file", "sign"]  # fmt: skip

LONGEST: Final = 8192
"""Characters of a token; aiohttp takes no longer headers."""
MOST_KEYS: Final = 8
"""Of all kinds: a token without a key's name is held against all of its algorithm."""

_LONGEST_HEADER: Final = 1024
_SHORTEST_SECRET: Final = 32
"""Bytes: as many as the hash has (RFC 7518, section 3.2)."""
_SMALLEST_RSA: Final = 2048
_REMEMBERED: Final = 4096
_FORM: Final = re.compile(r"([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_NOT_VALID: Final = "token: not valid"


class UnusableKey(Exception):
    """A key that cannot be used; the text says why and never shows it."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key and its one algorithm; ``name`` is what a token may call it by (``kid``)."""

    algorithm: str
    material: Any = field(repr=False)
    name: str | None = None


class _Header(msgspec.Struct, frozen=True):
    """What a token says of its signature (RFC 7515, section 4.1), as far as it decides anything here."""

    alg: str
    kid: str | None = None
    crit: Any = None


@dataclass(frozen=True, slots=True)
class TokensStatistics:
    """A snapshot: tokens remembered now, and totals since the start."""

    remembered: int
    accepted: int
    refused: int
    signatures: int
    """How many signatures were computed: what the rest was refused without."""


class Tokens:
    """Verifies tokens; pass :meth:`verify` on."""

    def __init__(
        self,
        keys: Sequence[SigningKey],
        *,
        audience: str | None = None,
        issuer: str | None = None,
        leeway: float = 0.0,
        most: ClientLimits | None = None,
        shares_fetches: bool = True,
    ) -> None:
        self._keys = keys
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway
        self._most = most or ClientLimits()
        self._shares_fetches = shares_fetches
        self._known: LRUCache[bytes, Grant] = LRUCache(_REMEMBERED)
        self._header = msgspec.json.Decoder(_Header)
        self._accepted = 0
        self._refused = 0
        self._signatures = 0

    def __repr__(self) -> str:
        return f"<Tokens {len(self._keys)} keys, {len(self._known)} tokens known>"

    def statistics(self) -> TokensStatistics:
        """Return an immutable snapshot."""
        return TokensStatistics(len(self._known), self._accepted, self._refused, self._signatures)

    def verify(self, token: str) -> Grant:
        """Return what a token grants, or raise Unauthorized."""
        try:
            grant = self._recall(token)
        except Unauthorized:
            self._refused += 1
            raise
        self._accepted += 1
        return grant

    def _recall(self, token: str) -> Grant:
        if len(token) > LONGEST:
            raise Unauthorized(f"token: longer than {LONGEST} characters")
        form = _FORM.fullmatch(token)
        if form is None:
            raise Unauthorized(_NOT_VALID)
        digest = sha256(token.encode()).digest()
        grant = self._known.get(digest)
        if grant is None:
            grant = replace(self._read(token, self._candidates(form[1])), bearer=digest.hex())
            self._known[digest] = grant
        elif grant.until is not None and grant.until <= time.time():
            del self._known[digest]
            raise Unauthorized("token: expired")
        return grant

    def _candidates(self, segment: str) -> list[SigningKey]:
        """Return the keys that may have signed a token with this header."""
        if len(segment) > _LONGEST_HEADER:
            raise Unauthorized(_NOT_VALID)
        try:
            header = self._header.decode(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
        except (ValueError, msgspec.MsgspecError, RecursionError):
            raise Unauthorized(_NOT_VALID) from None
        if header.crit is not None:
            # Extensions that have to be understood (RFC 7515, section 4.1.11), and none is.
            raise Unauthorized(_NOT_VALID)
        fitting = [key for key in self._keys if key.algorithm == header.alg]
        return [key for key in fitting if key.name == header.kid and header.kid is not None] or fitting

    def _read(self, token: str, keys: list[SigningKey]) -> Grant:
        for key in keys:
            self._signatures += 1
            try:
                claims = jwt.decode(
                    token,
                    key.material,
                    algorithms=[key.algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=self._leeway,
                    options={"require": ["exp"]},
                )
            except jwt.InvalidSignatureError:
                continue
            except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
                raise Unauthorized(_refusal(error)) from None
            return read_claims(claims, self._most, self._leeway, shares_fetches=self._shares_fetches)
        raise Unauthorized(_NOT_VALID)


_REFUSALS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (jwt.ExpiredSignatureError, "token: expired"),
    (jwt.ImmatureSignatureError, "token: not valid yet (nbf, iat)"),
    (jwt.InvalidAudienceError, "token: claim aud: not for this service"),
    (jwt.InvalidIssuerError, "token: claim iss: not from an issuer of this service"),
)


def _refusal(error: Exception) -> str:
    """Say what is wrong with a token whose signature is right."""
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"token: claim {error.claim}: missing"
    return next((text for kind, text in _REFUSALS if isinstance(error, kind)), _NOT_VALID)


def sign(claims: dict[str, Any], key: SigningKey, name: str | None = None) -> str:
    """Return a token with these claims; ``name`` is its ``kid``."""
    return jwt.encode(claims, key.material, key.algorithm, headers={"kid": name} if name else None)


def secrets(text: str) -> list[SigningKey]:
    """Return the keys for HS256 of a text with one secret a line; raise UnusableKey."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise UnusableKey("is empty")
    if any("-----BEGIN" in line for line in lines):
        raise UnusableKey("is a PEM file, not a secret")
    keys = [SigningKey("HS256", line.encode()) for line in lines]
    if any(len(key.material) < _SHORTEST_SECRET for key in keys):
        raise UnusableKey(f"shorter than {_SHORTEST_SECRET} bytes: make one with `openssl rand -hex 32`")
    return keys


def secrets_file(path: str, *, pipes: bool = False) -> list[SigningKey]:
    """Return the keys for HS256 of a file; raise UnusableKey."""
    try:
        return secrets(_contents(path, pipes=pipes).decode())
    except UnicodeDecodeError:
        raise UnusableKey("is not text") from None


def public_key(path: str) -> list[SigningKey]:
    """Return the key in a PEM file, named like the file without its ending; raise UnusableKey."""
    pem = _contents(path)
    if b"PRIVATE KEY-----" in pem:
        raise UnusableKey("is a private key; the service needs the public one: `openssl pkey -pubout`")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey("is not a public key in PEM") from None
    return [SigningKey(_algorithm(key), key, Path(path).stem)]


def private_key(path: str) -> list[SigningKey]:
    """Return the key in a PEM file, to sign with; raise UnusableKey."""
    try:
        key = load_pem_private_key(_contents(path, pipes=True), password=None)
    except TypeError:
        raise UnusableKey("is protected by a passphrase: `openssl pkey` takes it off") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey("is not a private key in PEM") from None
    return [SigningKey(_algorithm(key), key)]


def _contents(path: str, *, pipes: bool = False) -> bytes:
    try:
        return read_bounded(path, CREDENTIALS, pipes=pipes)
    except OSError as error:
        raise UnusableKey(f"cannot be read: {error.strerror}") from None


def _algorithm(key: Any) -> str:
    """Return the one algorithm of a key."""
    if isinstance(key, RSAPublicKey | RSAPrivateKey):
        if key.key_size < _SMALLEST_RSA:
            raise UnusableKey(f"is an RSA key of {key.key_size} bits; at least {_SMALLEST_RSA} are needed")
        return "RS256"
    if isinstance(key, EllipticCurvePublicKey | EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return "ES256"
    raise UnusableKey("is neither an RSA key (RS256) nor one on the curve P-256 (ES256)")
