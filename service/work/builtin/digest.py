"""``digest``: a hash of the body. It runs in a thread, as hashlib releases the interpreter's lock."""

import hashlib
from typing import Literal

import msgspec

from service.work.step import Body, Made, step

__all__ = ["Digest", "digest"]


class Digest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which hash."""

    algorithm: Literal["sha256", "sha512", "blake2b", "md5"] = "sha256"


@step("digest", Digest, runs="thread")
def digest(body: Body, parameters: Digest) -> Made:
    """Return the hash of the decoded bytes in hexadecimal."""
    found = hashlib.new(parameters.algorithm, body.data, usedforsecurity=False)
    return Made({"algorithm": parameters.algorithm, "hex": found.hexdigest(), "bytes": len(body.data)})
