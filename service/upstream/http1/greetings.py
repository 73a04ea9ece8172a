"""What servers say that do not speak HTTP/1: recognised by their first bytes, without waiting for more."""

from typing import Final

__all__ = ["refusal_of"]

_HTTP: Final = b"http/"
_BEGINNINGS: Final = (
    (b"SSH-", "the server speaks SSH, not HTTP"),
    (b"220 ", "the server speaks FTP or SMTP, not HTTP"),
    (b"220-", "the server speaks FTP or SMTP, not HTTP"),
    (b"+OK", "the server speaks POP3, not HTTP"),
    (b"* OK", "the server speaks IMAP, not HTTP"),
    (b"-ERR", "the server speaks Redis or POP3, not HTTP"),
    (b"RFB ", "the server speaks VNC, not HTTP"),
    (b"\x15\x03", "the server answered with a TLS alert: it expects https"),
    (b"\x16\x03", "the server answered with a TLS handshake: it expects https"),
    (b"<", "the body came without a status line (HTTP/0.9)"),
)


def refusal_of(data: bytes | bytearray) -> str | None:
    """Return why these first bytes of an answer cannot begin one in HTTP/1, or None while they can."""
    begin = bytes(data[:24])
    if begin[:5].lower() == _HTTP[: len(begin)]:
        return None
    for known, text in _BEGINNINGS:
        if begin.startswith(known):
            return text
    if len(begin) >= 4 and begin[0] == 0 and begin[3] in (4, 7):
        return "the server speaks HTTP/2, not HTTP/1.1"
    return f"the answer does not begin with HTTP/ but with {begin[:16].decode('latin-1')!a}"
