"""Headers that clients may have sent to upstreams, and those that are the service's own."""

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["HEADER_NAME", "HEADER_VALUE", "MOST_HEADERS", "OUR_HEADERS", "OUR_PREFIXES", "check_headers"]

HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
HEADER_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,4096}")
# What frames the message or is meant for a proxy is ours to say, some open cloud metadata, and "Proxy" becomes
# HTTP_PROXY in CGI programs (CVE-2016-5385).
OUR_HEADERS: Final = frozenset(
    ("host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer", "expect",
     "keep-alive", "metadata-flavor", "metadata", "accept-encoding", "proxy")
)  # fmt: skip
_SIGNS: Final = re.compile("[^a-z0-9]")
MOST_HEADERS: Final = 50
OUR_PREFIXES: Final = ("proxy-", "x-aws-ec2-metadata-token", "sec-")


def check_headers(headers: Mapping[str, str]) -> str | None:
    """Say what is wrong with request headers (RFC 9110, section 5), or return None."""
    if len(headers) > MOST_HEADERS:
        return f"at most {MOST_HEADERS}"
    for name, value in headers.items():
        # Many servers read any punctuation in a name as the same: Transfer_Encoding frames the body.
        lower = _SIGNS.sub("-", name.lower())
        if not HEADER_NAME.fullmatch(name):
            return f"{name[:40]!r} is not a header name"
        if lower in OUR_HEADERS or lower.startswith(OUR_PREFIXES):
            return f"{name} is set by the service alone"
        if not HEADER_VALUE.fullmatch(value):
            return f"{name} has a value that no header has"
    return None
