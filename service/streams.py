"""The standard streams of a process that was started without some of them."""

import os
import sys

__all__ = ["open_standard_streams"]


def open_standard_streams() -> None:
    """Open /dev/null as every standard stream that was closed (``<&-``, ``>&-``, ``2>&-``).

    Else the first file or socket that is opened would get its number, and with it what is written there.
    """
    for descriptor, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor, inheritable=True)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
