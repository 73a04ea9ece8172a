"""What may be kept and used again (RFC 9111)."""

import sys
from importlib import import_module


def _import_hishel() -> None:
    """Import hishel without redis, which it loads where it is installed, for a storage that is not used here.

    That would be a fifth of the time that the service takes to start.
    """
    if "redis" not in sys.modules:
        sys.modules["redis"] = None  # type: ignore[assignment]
        try:
            import_module("hishel")
        finally:
            del sys.modules["redis"]


_import_hishel()
