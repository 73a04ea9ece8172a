"""What upstreams have allowed to be kept: a shared HTTP cache (RFC 9111) in memory, bounded in bytes.

An answer counts for the owner whose request brought it. When there is no room, the owner that holds most gives up
its longest unused: so a client that floods the cache pushes out what it brought itself.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from types import MappingProxyType
from typing import Final

import msgspec
from hishel import (
    AnyState,
    FromCache,
    Headers,
    IdleClient,
    InvalidateEntries,
    NeedRevalidation,
    NeedToBeUpdated,
    Response,
)

from service.core.fetching.headers import HEADER_VALUE
from service.core.owner import SERVICE, Owner
from service.core.pool import Pool
from service.core.ranking import OwnerRanking
from service.upstream.caching.cache_control import cache_control, lifetime_of
from service.upstream.caching.rfc9111 import CacheKey, StoredResponse, entries_of, replaces, request_of, storable

__all__ = ["Cache", "CacheStatistics", "Revalidation", "StoredResponse"]

_OVERHEAD: Final = 430
"""Bytes of an entry beside its texts."""
_FIELD: Final = 124
"""Bytes of a header field beside its texts: two objects, and a place in a dict."""

_NO_CONDITIONS: Final[Mapping[str, str]] = MappingProxyType({})

boot_time: Final = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Seconds since the machine was started, those in which it was suspended too."""


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """A snapshot: what is kept now, and totals since the start."""

    entries: int
    bytes: int
    hits: int
    validated: int
    stored: int
    evicted: int


class Revalidation(msgspec.Struct, eq=False):
    """One request that the cache could not answer alone: how to put it, and what the answer means."""

    cache: "Cache"
    key: CacheKey
    asked: Mapping[str, str]
    owner: Owner
    conditions: Mapping[str, str] = _NO_CONDITIONS
    """Headers that ask whether the stored response is still right."""
    variants: Sequence[StoredResponse] = ()
    known: NeedRevalidation | None = None
    """The answer of hishel, if the stored response can be validated."""

    def validate(self, known: NeedRevalidation) -> None:
        """Ask whether the stored response is still right."""
        self.known = known
        added = dict(known.request.headers)
        # Of a validator that no header can carry, or only one that servers refuse, nothing is asked.
        self.conditions = {
            name: value
            for name in ("If-None-Match", "If-Modified-Since")
            if HEADER_VALUE.fullmatch(value := added.get(name.lower(), "")) and value.strip() not in ("", "*")
        }

    def confirmed(self, headers: Mapping[str, str], now: float) -> StoredResponse | None:
        """Return the stored response that a 304 confirms, or None where it does not say which."""
        assert self.known is not None
        dated = {"date": formatdate(self.cache.wall(), usegmt=True), **headers}
        state: AnyState = self.known.next(Response(304, Headers(dated)))
        if isinstance(state, InvalidateEntries):
            state = state.next_state
        if not isinstance(state, NeedToBeUpdated):
            return None
        entry = state.updating_entries[-1]
        before = self.variants[entry.id.int]
        updated = dict(entry.response.headers)
        self.cache.validated += 1
        kept = storable(self.key, before.asked, before.status, updated) is not None
        return self.cache.keep(
            self.key, before.asked, before.status, updated, before.body, now,
            before.owner, instead=before, kept=kept,
        )  # fmt: skip

    def answered(
        self, status: int, headers: dict[str, str], body: bytes, now: float, head_size: int | None = None
    ) -> None:
        """Take a new answer: keep it if it may be kept; ``head_size`` is that of its head, where it is known."""
        cleaned = storable(self.key, self.asked, status, headers)
        if cleaned is not None:
            replaced = None
            if self.variants:
                replaced = next((old for old in self.variants if replaces(old, self.asked, headers)), None)
            self.cache.keep(
                self.key, self.asked, status, cleaned, body, now, self.owner, instead=replaced, head_size=head_size
            )

    def stale(self, now: float) -> StoredResponse | None:
        """Return what may stand in for an upstream that fails (``stale-if-error``, RFC 5861, section 4)."""
        if self.known is None:
            return None
        stored = self.variants[self.known.revalidating_entries[0].id.int]
        said = cache_control(stored.headers)
        if {"must-revalidate", "proxy-revalidate", "no-cache"} & said.flags:
            return None
        lifetime = lifetime_of(stored.headers, stored.came) or 0.0
        allowed = said.stale_if_error
        return stored if allowed and now - stored.dated <= lifetime + allowed else None


class Cache:
    """All that is kept, the longest unused of the largest owner going first.

    Ages are counted on ``clock``, which nobody sets; ``wall`` gives seconds of the Unix epoch.
    """

    def __init__(
        self, size: int, *, clock: Callable[[], float] = boot_time, wall: Callable[[], float] = time.time
    ) -> None:
        self.pool = Pool("cache_size", size)
        self.clock = clock
        self.wall = wall
        self.hits = 0
        self.validated = 0
        self._stored = 0
        self._evicted = 0
        self._entries: dict[CacheKey, tuple[StoredResponse, ...]] = {}
        # What each owner has brought, the longest unused first.
        self._brought: dict[Owner, OrderedDict[StoredResponse, CacheKey]] = {}
        self._ranking = OwnerRanking(self.pool.held)

    def __repr__(self) -> str:
        return f"<Cache {len(self._entries)} entries, {self.pool.used} of {self.pool.bound} B>"

    def find(self, key: CacheKey, headers: Mapping[str, str]) -> StoredResponse | None:
        """Return what answers this request without asking anybody."""
        variants = self._entries.get(key)
        if variants is None:
            return None
        now = self.clock()
        for stored in variants:
            if stored.fresh_in == int(now) and stored.fresh_for == headers:
                return self._used(stored)
        found = IdleClient({"shared": True}).next(
            request_of(key, headers), entries_of(key, variants, now, dated_only=True)
        )
        if not isinstance(found, FromCache):
            return None
        stored = variants[found.entry.id.int]
        stored.fresh_in, stored.fresh_for = int(now), headers
        return self._used(stored)

    def _used(self, stored: StoredResponse) -> StoredResponse:
        self._brought[stored.owner].move_to_end(stored)
        self.hits += 1
        return stored

    def ask(
        self, key: CacheKey, headers: Mapping[str, str], owner: Owner = SERVICE, *, anew: bool
    ) -> Revalidation | None:
        """Return how to ask, or None where nothing is kept; ``anew`` asks for all."""
        if self.pool.bound == 0:
            return None
        question = Revalidation(self, key, headers, owner)
        if (found := self._entries.get(key)) is not None:
            # Of another variant a 304 would say nothing about this one.
            question.variants = variants = [old for old in found if replaces(old, headers, old.headers)]
            if variants and not anew:
                asked = request_of(key, {**headers, "cache-control": "no-cache"})
                state = IdleClient({"shared": True}).next(asked, entries_of(key, variants, self.clock()))
                if isinstance(state, NeedRevalidation):
                    question.validate(state)
        return question

    def keep(
        self,
        key: CacheKey,
        asked: Mapping[str, str],
        status: int,
        headers: dict[str, str],
        body: bytes,
        now: float,
        owner: Owner,
        *,
        instead: StoredResponse | None,
        kept: bool = True,
        head_size: int | None = None,
    ) -> StoredResponse:
        """Keep an answer in place of one that it replaces, and drop what has no room any more.

        One that is too large, or is not to be ``kept``, is returned all the same, and what it replaces is dropped.
        """
        size = _size_of(key, headers, body, head_size)
        stored = StoredResponse(status, headers, body, asked, owner, now, self.wall(), size)
        if instead is not None and instead in self._brought.get(instead.owner, ()):
            self._drop(instead)
        if not kept or size > self.pool.bound // 8:
            return stored
        others = self._entries.get(key)
        self._entries[key] = (stored, *others) if others else (stored,)
        brought = self._brought.get(owner)
        if brought is None:
            brought = self._brought[owner] = OrderedDict()
        brought[stored] = key
        self.pool.charge(owner, size)
        self._ranking.changed[owner] = None
        self._stored += 1
        while self.pool.used > self.pool.bound:
            largest = self._ranking.top() if len(self._brought) > 1 else owner
            self._drop(next(iter(self._brought[largest])))
            self._evicted += 1
            self.pool.refused += 1
        return stored

    def _drop(self, stored: StoredResponse) -> None:
        owner = stored.owner
        brought = self._brought[owner]
        key = brought.pop(stored)
        self.pool.release(owner, stored.size)
        self._ranking.changed[owner] = None
        if not brought:
            del self._brought[owner]
            self._ranking.forget(owner)
        left = tuple(one for one in self._entries[key] if one is not stored)
        if left:
            self._entries[key] = left
        else:
            del self._entries[key]

    def statistics(self) -> CacheStatistics:
        """Return an immutable snapshot."""
        return CacheStatistics(
            len(self._entries), self.pool.used, self.hits, self.validated, self._stored, self._evicted
        )


def _size_of(key: CacheKey, headers: Mapping[str, str], body: bytes, head_size: int | None) -> int:
    """Return how much memory an entry takes, within a tenth."""
    asked = sum(_FIELD + len(name) + len(value) for name, value in key[2]) if key[2] else 0
    if head_size is None:
        head_size = len("".join(headers)) + len("".join(headers.values()))
    return _OVERHEAD + asked + _FIELD * len(headers) + len(key[1]) + head_size + len(body)
