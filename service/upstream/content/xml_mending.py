"""Feeds that are not well-formed, mended as far as their readers mend them.

libxml2's own recovery passes over every named reference that follows an error: ``&amp;`` in links would be lost. So
they become references by number, which it reads.
"""

import re
from html.entities import html5
from typing import Final

__all__ = ["mended"]

_ILLEGAL: Final = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_ODD: Final = re.compile(
    r"(<!\[CDATA\[.*?(?:\]\]>|\Z)|<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z))"
    r"|((?:&#(?:x[0-9A-Fa-f]+|[0-9]+);)+)"
    r"|&([A-Za-z][A-Za-z0-9]*);"
    r"|(&|<(?![^\W\d]|[:/!?])|\]\]>)",
    re.DOTALL,
)
"""What is passed over; numbered references in a row; a named one; what may not stand there."""
_NUMBER: Final = re.compile(r"&#(?:x([0-9A-Fa-f]+)|([0-9]+));")
_MARKUP: Final = re.compile(r"[&<>\"']")
_BEYOND: Final = 0x110000


def mended(text: str) -> str:
    """Return the text with HTML's entities as characters, and each character and sign that XML forbids replaced.

    Where a document has entities of its own, names are left to the parser.
    """
    own = "<!ENTITY" in text
    return _ODD.sub(lambda match: _mended(match, own), _ILLEGAL.sub("\ufffd", text))


def _mended(match: re.Match[str], own: bool) -> str:
    passed, numbers, name, sign = match.groups()
    if numbers:
        return _of_numbers(numbers)
    if passed or own:
        return match[0]
    if name:
        characters = "'" if name == "apos" else html5.get(f"{name};")
        return f"&#38;{name};" if characters is None else _safe(characters)
    return "]]&#62;" if sign == "]]>" else _safe(sign)


def _of_numbers(references: str) -> str:
    """Return references by number as they are, or as characters where one of them is forbidden."""
    codes = [_code(match) for match in _NUMBER.finditer(references)]
    if all(_allowed(code) for code in codes):
        return references
    # Halves of a surrogate pair that follow each other are the character that was meant.
    text = "".join(chr(code) if code < _BEYOND else "\ufffd" for code in codes)
    text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _safe(_ILLEGAL.sub("\ufffd", text.replace("\0", "\ufffd")))


def _allowed(code: int) -> bool:
    """Return whether XML has the character (XML 1.0, section 2.2)."""
    return code in (9, 10, 13) or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or 0x10000 <= code < _BEYOND


def _code(match: re.Match[str]) -> int:
    digits, base = (match[1], 16) if match[1] else (match[2], 10)
    digits = digits.lstrip("0") or "0"
    return min(int(digits, base), _BEYOND) if len(digits) < 9 else _BEYOND


def _safe(characters: str) -> str:
    """Return characters with those that are part of the markup as references."""
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", characters)
