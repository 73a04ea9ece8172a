"""How curl reads a URL, asked in this process: another parser to compare ours with."""

import ctypes
import ctypes.util
from functools import cache
from typing import Any, NamedTuple

__all__ = ["Read", "curl_reads"]

_URL, _SCHEME, _USER, _HOST, _PORT, _PATH, _QUERY = 0, 1, 2, 5, 6, 7, 8
_DEFAULT_PORT = 1


class Read(NamedTuple):
    """What curl takes a URL for; path and query as it sends them."""

    scheme: str
    user: str | None
    host: str
    port: int
    path: str
    query: str | None


def curl_reads(url: str, location: str | None = None) -> Read | None:
    """Return how curl reads a URL, or one and where a ``Location`` leads from there; None where it refuses.

    Texts are octets decoded as Latin-1. Without libcurl everything is refused.
    """
    curl = _library()
    if curl is None:
        return None
    handle = curl.curl_url()
    try:
        for part in (url, location):
            if part is not None and curl.curl_url_set(handle, _URL, part.encode("latin-1"), 0):
                return None
        return _read(curl, handle)
    finally:
        curl.curl_url_cleanup(handle)


def _read(curl: Any, handle: int) -> Read:
    def get(part: int, flags: int = 0) -> str | None:
        text = ctypes.c_void_p()
        if curl.curl_url_get(handle, part, ctypes.byref(text), flags):
            return None
        value = ctypes.cast(text, ctypes.c_char_p).value
        curl.curl_free(text)
        return value.decode("latin-1") if value is not None else None

    host = get(_HOST) or ""
    return Read(
        (get(_SCHEME) or "").lower(),
        get(_USER),
        host.lower().removesuffix(".").strip("[]"),
        int(get(_PORT, _DEFAULT_PORT) or 0),
        get(_PATH) or "",
        get(_QUERY),
    )


@cache
def _library() -> Any:
    name = ctypes.util.find_library("curl") or "libcurl.so.4"
    try:
        curl = ctypes.CDLL(name)
        curl.curl_url.restype = ctypes.c_void_p
    except (OSError, AttributeError):
        return None
    curl.curl_url_cleanup.argtypes = [ctypes.c_void_p]
    curl.curl_url_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    curl.curl_url_get.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p), ctypes.c_uint]
    curl.curl_free.argtypes = [ctypes.c_void_p]
    return curl
