"""Signatures of Standard Webhooks, version 1.0.0 (https://github.com/standard-webhooks/standard-webhooks).

A request has ``webhook-id``, ``webhook-timestamp`` in seconds since 1970, and ``webhook-signature``: an HMAC with
SHA-256 of the two and the body.
"""

import hmac
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Final

__all__ = ["read_secret", "signature"]

_PREFIX: Final = "whsec_"


def signature(secret: bytes, webhook_id: str, timestamp: str, body: str) -> str:
    """Return the value of ``webhook-signature``."""
    signed = f"{webhook_id}.{timestamp}.{body}".encode()
    return "v1," + b64encode(hmac.digest(secret, signed, sha256)).decode()


def read_secret(text: str) -> bytes:
    """Return the bytes of a secret such as ``whsec_…``; raise ValueError where it is not one.

    The ``=`` at its end may be missing, as the libraries of receivers allow that. Any other character that is not
    base64 is refused: to ignore it would make a key of the remaining ones.
    """
    coded = text.strip().removeprefix(_PREFIX)
    secret = b64decode(coded + "=" * (-len(coded) % 4), validate=True)
    if not 24 <= len(secret) <= 64:
        raise ValueError("a secret of Standard Webhooks has 24 to 64 bytes, in base64")
    return secret
