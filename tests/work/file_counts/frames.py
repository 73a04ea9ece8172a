"""Frames of zstd for tests."""

import sys

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["SKIPPABLE", "zstd_frame"]

SKIPPABLE = (0x184D2A53).to_bytes(4, "little") + (3).to_bytes(4, "little") + b"abc"


def zstd_frame(data: bytes) -> bytes:
    """Return one frame, with a checksum."""
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})
