"""Small files that an operator names, such as credentials: read whole, but never without a bound or an end."""

import errno
import os
import stat
from pathlib import Path
from typing import Final

__all__ = ["CREDENTIALS", "DOCUMENT", "read_bounded", "read_certificates"]

CREDENTIALS: Final = 64 << 10
"""Bytes that a file with a token, a secret or a key may have."""
DOCUMENT: Final = 4 << 20
"""Bytes that a file with certificates or declarations may have."""


def read_certificates(path: str | Path, *, pipes: bool = False) -> str:
    """Return a file of certificates (PEM) for :mod:`ssl`, which reads files without a bound; raises OSError.

    What stands between the certificates may be in any language, and is left out where it is not ASCII.
    """
    text = read_bounded(path, DOCUMENT, pipes=pipes).decode("ascii", "ignore")
    if "-----BEGIN" not in text:  # for an empty text, ssl would trust all that this machine trusts
        raise OSError(errno.EINVAL, "it has no certificates", str(path))
    return text


def read_bounded(path: str | Path, most: int, *, pipes: bool = False) -> bytes:
    """Return the bytes of a regular file; raises OSError, also where there are more than ``most``.

    With ``pipes`` it may also be a pipe or a device: that is for commands, which read a file once, and which a user
    can interrupt. The service reads its files again, and does not wait for them.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | (0 if pipes else os.O_NONBLOCK)  # to open a pipe waits for its writer
    with open(os.open(path, flags), "rb") as file:
        if not pipes and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return data
