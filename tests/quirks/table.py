"""All quirks, by name."""

from tests.quirks import bodies, caching, heads, limits, redirects, robots, shifts, siblings, texts, urls, watching
from tests.quirks.model import Quirk

__all__ = ["BY_NAME", "QUIRKS"]

QUIRKS: list[Quirk] = [
    quirk
    for module in (heads, shifts, redirects, bodies, limits, urls, caching, texts, watching, robots, siblings)
    for quirk in module.QUIRKS
]
BY_NAME = {quirk.name: quirk for quirk in QUIRKS}
assert len(BY_NAME) == len(QUIRKS), "a name is given twice"
