"""``digest``: the hash of the decoded bytes."""

import hashlib
from typing import Any

import pytest

from service.work.builtin.digest import Digest, digest
from service.work.step import Body


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "blake2b", "md5"])
def test_digest(algorithm: Any) -> None:
    made = digest(Body(b"abc", None, ""), Digest(algorithm))
    assert made.fields == {"algorithm": algorithm, "hex": hashlib.new(algorithm, b"abc").hexdigest(), "bytes": 3}
