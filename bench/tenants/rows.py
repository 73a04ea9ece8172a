"""The attacks in order: which kind of fault each is, and what has to come of it."""

from dataclasses import dataclass
from typing import Final

__all__ = ["BY_NAME", "ROWS", "Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """One attack."""

    kind: str
    """The kind of fault, as the issue numbers them."""
    name: str
    what: str
    reported: str = ""
    """What the attacker has to be answered at least once."""
    takes: float = 0.0
    """Seconds of attack after which the share is used up: a shorter attack may not get that far."""
    moment: bool = False
    """Whether each blow takes the loop for a moment, which has an absolute bound: 12 MB to parse, thousands of
    watches to begin."""
    kept: int = 0
    """MiB that may stay: what is kept for later, within its own bound."""


_TOPICS: Final = 144
"""MiB after 100,000 topics; ``shifts`` has as many where the attack ``topics`` is one of those that it draws."""

ROWS: Final = (
    Row("D1", "surplus", "answers that nobody asked for, behind answers on kept connections of the same hosts"),
    Row("D2", "large", "batches of 400 bodies of 1 MB that nobody reads", reported="limit batches_size", takes=30),
    Row("D3", "stalls", "bodies that stall before, in and after their head, in a chunk and in gzip; timeout 300 s"),
    Row("D4", "topics", "as many topics as it may have", reported="limit topics", kept=_TOPICS),
    Row("D4", "keys", "as many keys of publishes as it may have, over 4 WebSockets", reported="limit", takes=40),
    Row("D4", "rings", "more messages than all rings may keep"),
    Row("D4", "batches", "as many waiting batches as it may have", reported="limit batches", kept=48),
    Row("D4", "queued", "batches of 8,000 long URLs that wait", reported="limit queued_bytes", moment=True),
    Row("D4", "streams", "700 streams that never end", reported="limit"),
    Row("D4", "sockets", "1,200 WebSockets that read nothing of a busy topic", reported="429 before the upgrade"),
    Row(
        "D4", "watches", "12,000 watches of pages that never answer", reported="limit watches", moment=True, kept=32
    ),
    Row("D5", "parked", "batches of one URL each, all at one host that hangs", kept=24),
    Row("D6", "hosts", "8,000 URLs that hang, at the same hosts"),
    Row("D7", "private", "answers with Set-Cookie asked for in the same moment"),
    Row("D8", "poison", "headers that an upstream shows in cacheable answers, or that make it fail"),
    Row("D9", "selections", "100 watches of p:nth-last-child(n) on 45,000 paragraphs"),
    Row("D10", "same-keys", "publishes with the keys that the careful client is about to use"),
    Row("D11", "names", "other names of the same host"),
    Row("D12", "wishes", "pages of the same hosts that answer 429 and 503 with Retry-After: 120, or not at all"),
    Row("D13", "odd", "requests that are not HTTP, or hardly"),
    Row("-", "requests", "as many requests as fit, over 50 connections"),
    Row("-", "documents", "batches of 9,900 URLs, 15 MB each, of which nothing can be fetched", moment=True),
    Row(
        "-",
        "downloads",
        "20 results of 1 MB from the cache again and again, over 8 connections, at full speed",
        kept=20,
    ),
    Row("-", "uploads", "documents of 15 MB over 8 connections, at full speed, which are refused", moment=True),
    Row("-", "bursts", "300 WebSockets, 300 requests, or 300 beginnings of TLS at the same moment, in turn"),
    Row("-", "crowd", "400 WebSockets, each with a request of each kind, twice a second", kept=16),
    Row("all", "mix", "three of these at a time, each for 3 s", moment=True, kept=80),
    Row("all", "shifts", "one of these attacks at a time, a different one each second", moment=True, kept=_TOPICS),
)
BY_NAME: Final = {row.name: row for row in ROWS}
