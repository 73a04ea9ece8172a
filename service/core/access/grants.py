"""What a client may do: read from the claims of its token, without clock, key or signature.

A claim that is missing grants nothing. Patterns are as simple as can be said in a line: a topic is named, or
the beginning of its name with ``*`` after it; a host is named, or ``*.`` before a name stands for all hosts
below it, though not for that name itself.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec

from service.core.access.callers import network_of
from service.core.access.job_patterns import EVERY_JOB, NO_JOB, JobPatterns, read_jobs
from service.core.errors import Forbidden, InvalidParams, Unauthorized
from service.core.owner import Owner
from service.core.parsing import convert

__all__ = ["EVERYTHING", "EVERY_HOST", "NOTHING", "STATIC", "ClientLimits", "Grant", "HostPatterns",
           "TopicPatterns", "read_claims"]  # fmt: skip

MOST_PATTERNS: Final = 100
"""Of one claim; a token has at most 8 KiB anyway."""

_TOPIC: Final = re.compile(r"[!-)+-~]{1,255}|[!-)+-~]{0,254}\*")
_HOST: Final = re.compile(r"(?:\*\.)?[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.ASCII)


class TopicPatterns(NamedTuple):
    """Names of topics, and beginnings of names."""

    claim: str
    names: tuple[str, ...] = ()
    beginnings: tuple[str, ...] = ()

    def allows(self, topic: str) -> bool:
        """Return whether a topic is covered."""
        return topic in self.names or topic.startswith(self.beginnings)

    def check(self, topic: str) -> None:
        """Raise Forbidden for a topic that is not covered."""
        if not self.allows(topic):
            raise Forbidden(f"claim {self.claim}: it does not cover the topic {topic!r}")


class HostPatterns(NamedTuple):
    """Names and addresses of hosts, and endings of names."""

    claim: str
    names: tuple[str, ...] = ()
    endings: tuple[str, ...] = ()

    @property
    def all(self) -> bool:
        """Whether every host is covered."""
        return self.endings == ("",)

    def allows(self, host: str) -> bool:
        """Return whether a host is covered; its name is in lower case, without a trailing dot, as in a Target."""
        return host in self.names or host.endswith(self.endings)

    def refusal(self, host: str) -> str:
        """Say why a request to a host is refused."""
        return f"claim {self.claim}: it does not cover the host {host!r}"

    def check_any(self) -> None:
        """Raise Forbidden where not one host is covered."""
        if not self.names and not self.endings:
            raise Forbidden(f"claim {self.claim}: the token does not have it")

    @property
    def mark(self) -> str:
        """What tells these patterns from others in a text; nothing for every host."""
        return "" if self.all else " " + " ".join(self.names + self.endings)


class ClientLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of one client in place of the service's own, where they are given."""

    topics: Annotated[int, msgspec.Meta(ge=1)] | None = None
    rate: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """Requests a second."""
    fetches: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """At once."""
    weight: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """How many times the usual share of each pool."""

    def within(self, most: "ClientLimits") -> "ClientLimits":
        """Return these limits, each at most what ``most`` has."""
        return ClientLimits(
            topics=_least(self.topics, most.topics),
            rate=_least(self.rate, most.rate),
            fetches=_least(self.fetches, most.fetches),
            weight=_least(self.weight, most.weight),
        )


@lru_cache(maxsize=4096)
def _owner(name: str, weight: float, shares_fetches: bool, address: bool) -> Owner:
    """Return one object for all connections of an owner: thousands may have one address."""
    return Owner(name, weight, shares_fetches=shares_fetches, network=network_of(name) if address else "")


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client may do, and for how long; times are in seconds of the Unix epoch."""

    subject: str | None
    """Who it is: all that it does under this name counts together."""
    subscribe: TopicPatterns
    publish: TopicPatterns
    fetch: HostPatterns
    watch: HostPatterns
    limits: ClientLimits
    expires: float | None = None
    until: float | None = None
    """When connections that it opened end: as late as clocks may differ."""
    bearer: str = ""
    """What tells its token from others, where it names no subject; empty without a token. Not the token itself."""
    shares_fetches: bool = True
    """Whether answers that were fetched for it may be given to others, and those of others to it."""
    jobs: JobPatterns = NO_JOB

    def may_read(self, topic: str) -> bool:
        """Return whether a topic may be read, and asked about, by its name.

        The id of a batch or job is a secret of its own. The name of a watch is none, and does not tell the host
        behind it.
        """
        if topic.startswith(("batch:", "job:")):
            return True
        return self.watch.all if topic.startswith("watch:") else self.subscribe.allows(topic)

    def may_keep(self, topic: str, before: "Grant", *, watched: bool) -> bool:
        """Return whether a topic that is read already may be read on; ``watched`` ones go by the hosts."""
        return (watched and self.watch == before.watch) or self.may_read(topic)

    def check_read(self, topic: str) -> None:
        """Raise Forbidden for a topic that may not be read by its name."""
        if self.may_read(topic):
            return
        if topic.startswith("watch:"):
            raise Forbidden("claim watch: a watch is read by its topic's name with `true` alone; ask for its url")
        self.subscribe.check(topic)

    def owner(self, address: str) -> Owner:
        """Return who owns all that is held for this client: the subject, else the token, else the address."""
        name, named = address, True
        if self.subject is not None:
            name = f"sub {self.subject}"
        elif self.bearer:
            name = f"token {self.bearer}"
        else:
            named = False
        return _owner(name, self.limits.weight or 1.0, self.shares_fetches, not named)


_NO_LIMITS: Final = ClientLimits()
EVERY_HOST: Final = HostPatterns("fetch", endings=("",))
EVERYTHING: Final = Grant(
    None,
    TopicPatterns("subscribe", beginnings=("",)),
    TopicPatterns("publish", beginnings=("",)),
    EVERY_HOST,
    HostPatterns("watch", endings=("",)),
    _NO_LIMITS,
    jobs=EVERY_JOB,
)
"""What a service grants that needs no token."""
STATIC: Final = replace(EVERYTHING, bearer="static")
"""What the static token grants; one that replaces it has what the one before had."""
NOTHING: Final = Grant(
    None,
    TopicPatterns("subscribe"),
    TopicPatterns("publish"),
    HostPatterns("fetch"),
    HostPatterns("watch"),
    _NO_LIMITS,
)
"""What a client has whose token is wrong."""


class _Claims(msgspec.Struct, frozen=True):
    """The claims that are ours, beside what RFC 7519 has; claims that are nobody's are passed over."""

    exp: Annotated[float, msgspec.Meta(ge=0, le=1 << 53)]
    sub: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] | None = None
    subscribe: list[str] = []
    publish: list[str] = []
    fetch: bool | list[str] = False
    watch: bool | list[str] = False
    jobs: bool | list[str] = False
    limits: ClientLimits = _NO_LIMITS
    share: Literal["public", "none"] | None = None


def read_claims(claims: Any, most: ClientLimits, leeway: float = 0.0, *, shares_fetches: bool = True) -> Grant:
    """Return what these claims grant, the limits within ``most``; raise Unauthorized that names what is wrong.

    ``shares_fetches`` holds where no claim says whether answers are shared.
    """
    try:
        read = convert(claims, _Claims)
    except InvalidParams as error:
        raise Unauthorized(f"token: claim {error.detail}") from None
    except UnicodeEncodeError:
        raise Unauthorized("token: the name of a claim is not Unicode text") from None
    return Grant(
        read.sub,
        _topics("subscribe", read.subscribe),
        _topics("publish", read.publish),
        _hosts("fetch", read.fetch),
        _hosts("watch", read.watch),
        read.limits.within(most),
        read.exp,
        read.exp + leeway,
        shares_fetches=shares_fetches if read.share is None else read.share == "public",
        jobs=read_jobs(read.jobs),
    )


def _topics(claim: str, patterns: list[str]) -> TopicPatterns:
    _check_count(claim, patterns)
    for pattern in patterns:
        if not _TOPIC.fullmatch(pattern):
            raise Unauthorized(
                f"token: claim {claim}: {pattern[:40]!r} is neither a topic nor the beginning of one with *"
            )
    names = {pattern for pattern in patterns if not pattern.endswith("*")}
    beginnings = {pattern[:-1] for pattern in patterns if pattern.endswith("*")}
    return TopicPatterns(claim, tuple(sorted(names)), tuple(sorted(beginnings)))


def _hosts(claim: str, patterns: bool | list[str]) -> HostPatterns:
    if isinstance(patterns, bool):
        return HostPatterns(claim, endings=("",) if patterns else ())
    _check_count(claim, patterns)
    hosts = [_host(claim, pattern) for pattern in patterns]
    names = {host for host in hosts if not host.startswith("*")}
    endings = {host[1:] for host in hosts if host.startswith("*")}
    return HostPatterns(claim, tuple(sorted(names)), tuple(sorted(endings)))


def _host(claim: str, pattern: str) -> str:
    """Return a pattern as hosts are written in Targets: lower case, no trailing dot, IPv6 in its short form."""
    host = pattern.lower()
    if ":" in host:
        try:
            return str(IPv6Address(host.removeprefix("[").removesuffix("]")))
        except AddressValueError:
            host = ""
    if not _HOST.fullmatch(host):
        raise Unauthorized(f"token: claim {claim}: {pattern[:40]!r} is neither a host nor *. and a host")
    return host.removesuffix(".")


def _check_count(claim: str, patterns: list[str]) -> None:
    if len(patterns) > MOST_PATTERNS:
        raise Unauthorized(f"token: claim {claim}: {len(patterns)} of at most {MOST_PATTERNS} patterns")


def _least(asked: Any, most: Any) -> Any:
    return min(asked, most) if asked is not None and most is not None else asked
