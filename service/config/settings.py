"""Every setting, once: its option, its environment variable, its default and its help."""

import ssl
from ipaddress import ip_network
from typing import Annotated, Final, Literal

import msgspec

from service.config import checks
from service.core.addresses import Network

__all__ = ["Settings", "tls_context"]


_Help = msgspec.Meta

_PRIVATE: Final = (
    "127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16",
    "fc00::/7", "fe80::/10",
)  # fmt: skip
"""Where load balancers and programs of one's own are: loopback, private, shared and link-local addresses."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of ``serve``; sizes in bytes, times in seconds."""

    host: Annotated[str, _Help(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, _Help(ge=0, le=65535, description="port to listen on; 0 takes a free one")] = 8080
    token: Annotated[str | None, _Help(description="token that clients must present")] = None
    token_file: Annotated[str | None, _Help(description="file that holds the token")] = None
    jwt_secret: Annotated[str | None, _Help(extra={"variable_only": True})] = None
    """The secrets of ``jwt_secret_file``, given in the environment; an option would show up in process lists."""
    jwt_secret_file: Annotated[
        str | None,
        _Help(description="file with secrets for HS256 tokens, one per line, in place of SLUICE_JWT_SECRET"),
    ] = None
    jwt_key: Annotated[
        tuple[str, ...], _Help(description="file with the public key (PEM) for RS256 or ES256 tokens")
    ] = ()
    jwt_issuer: Annotated[str | None, _Help(description="iss that signed tokens must carry")] = None
    jwt_audience: Annotated[str | None, _Help(description="aud that signed tokens must carry")] = None
    jwt_leeway: Annotated[
        float, _Help(ge=0, le=300, description="allowed clock skew of the token issuer, in seconds")
    ] = 5.0
    jwt_raise: Annotated[
        float,
        _Help(
            ge=1,
            le=1000,
            description="how far a token may raise the limits of its client; 2: to twice the settings",
        ),
    ] = 1.0
    no_auth: Annotated[bool, _Help(description="listen beyond loopback without credentials")] = False
    allow_net: Annotated[
        tuple[str, ...], _Help(description="network that fetches may reach in addition to public addresses")
    ] = ()
    allow_port: Annotated[
        tuple[int, ...], _Help(description="port that fetches may use in addition to 80, 443, 8080 and 8443")
    ] = ()
    allow_method: Annotated[
        tuple[str, ...], _Help(description="method that fetches may use in addition to GET and HEAD")
    ] = ()
    allow_origin: Annotated[
        tuple[str, ...], _Help(description="origin of pages elsewhere that may use the service")
    ] = ()
    allow_host: Annotated[
        tuple[str, ...], _Help(description="host name by which clients may reach the service")
    ] = ()
    tls_cert: Annotated[str | None, _Help(description="certificate chain (PEM)")] = None
    tls_key: Annotated[str | None, _Help(description="private key (PEM)")] = None
    echo_route: Annotated[bool, _Help(description="add /echo and POST /, for conformance suites")] = False
    trust_proxy: Annotated[
        tuple[str, ...], _Help(description="network of proxies that are trusted to name their clients")
    ] = ()
    exempt_net: Annotated[tuple[str, ...], _Help(description="network that is exempt from limits per address")] = (
        _PRIVATE
    )
    address_connections: Annotated[int, _Help(ge=1, description="concurrent connections from one address")] = 1000
    address_handshakes: Annotated[
        float,
        _Help(gt=0, description="handshakes per second from one address"),
    ] = 100.0
    address_requests: Annotated[float, _Help(gt=0, description="other requests per second from one address")] = (
        1000.0
    )
    websockets: Annotated[int, _Help(ge=1, description="concurrent WebSocket connections")] = 10_000
    connections: Annotated[int, _Help(ge=1, description="other concurrent requests")] = 500
    message_size: Annotated[int, _Help(ge=128, description="largest message from a client, in bytes")] = 64 << 10
    client_topics: Annotated[int, _Help(ge=1, description="topics that one client may read")] = 128
    client_rate: Annotated[float, _Help(gt=0, description="requests per second from one client")] = 1000.0
    client_bytes: Annotated[int, _Help(ge=1024, description="bytes per second from one client")] = 8 << 20
    topics: Annotated[int, _Help(ge=1, description="topics that exist at the same time")] = 200_000
    ring_messages: Annotated[int, _Help(ge=1, description="messages that a topic keeps")] = 1000
    ring_size: Annotated[int, _Help(ge=1024, description="bytes that a topic keeps")] = 1 << 20
    ring_age: Annotated[float, _Help(gt=0, description="seconds that a topic keeps a message")] = 300.0
    rings_size: Annotated[int, _Help(ge=1024, description="bytes that all topics keep together")] = 256 << 20
    backlogs_size: Annotated[int, _Help(ge=1024, description="bytes that wait for slow clients together")] = (
        256 << 20
    )
    batch_urls: Annotated[int, _Help(ge=1, description="URLs in one batch")] = 10_000
    batch_size: Annotated[int, _Help(ge=1024, description="largest body of a request for a batch, in bytes")] = (
        16 << 20
    )
    batches_size: Annotated[int, _Help(ge=1024, description="bytes of results kept for all batches")] = 256 << 20
    batch_age: Annotated[float, _Help(gt=0, description="seconds that a finished batch is kept")] = 600.0
    batch_linger: Annotated[
        float, _Help(ge=0, description="seconds that a WebSocket's batch waits for a reader")
    ] = 60.0
    data: Annotated[
        str | None,
        _Help(description="directory that keeps topics over a restart or a crash"),
    ] = None
    stored_batches_size: Annotated[
        int, _Help(ge=1 << 20, description="bytes of results that all batches keep in --data")
    ] = 10 << 30
    sync: Annotated[
        Literal["full", "normal"],
        _Help(description="what a publish waits for: full, the disk; normal, the operating system"),
    ] = "full"
    volatile: Annotated[
        tuple[str, ...],
        _Help(description="topic that is not kept in --data: a name, or a prefix and *"),
    ] = ()
    blobs: Annotated[str | None, _Help(description="directory for what steps save")] = None
    blobs_size: Annotated[
        int, _Help(ge=1, description="bytes of all blobs together; the least recently used are removed first")
    ] = 10 << 30
    steps: Annotated[tuple[str, ...], _Help(description="Python module with steps of your own")] = ()
    step_time: Annotated[float, _Help(gt=0, description="seconds that one step of one body may take")] = 60.0
    step_memory: Annotated[
        int, _Help(ge=64 << 20, description="memory limit of a process that runs steps, in bytes")
    ] = 1 << 30
    jobs: Annotated[str | None, _Help(description="Python module with the functions that jobs run")] = None
    celery: Annotated[
        str | None,
        _Help(
            description="broker (redis or amqp URL) whose Celery workers run functions, in place of this machine"
        ),
    ] = None
    job_slots: Annotated[int, _Help(ge=0, description="processes that run functions; 0: one for each core")] = 0
    job_memory: Annotated[
        int, _Help(ge=0, description="memory limit of a process that runs functions, in bytes; 0: none")
    ] = 2 << 30
    jobs_size: Annotated[int, _Help(ge=1 << 20, description="bytes of all jobs together")] = 1 << 30
    webhook_secret_file: Annotated[
        str | None, _Help(description="file with the secret (whsec_...) that signs the calls of jobs")
    ] = None
    step_processes: Annotated[int, _Help(ge=0, description="processes that run steps; 0: one for each core")] = 0
    pipelines: Annotated[str | None, _Help(description="TOML file that declares pipelines")] = None
    frame_size: Annotated[int, _Help(ge=1024, description="largest item of a pipeline, in bytes")] = 8 << 20
    upstream: Annotated[int, _Help(ge=1, description="concurrent fetches")] = 500
    upstream_client: Annotated[int, _Help(ge=1, description="concurrent fetches for one client")] = 450
    upstream_host: Annotated[int, _Help(ge=1, description="concurrent fetches from one host")] = 20
    robots: Annotated[
        bool, _Help(description="obey the robots.txt of hosts (RFC 9309), as the user agent sluice")
    ] = False
    watches: Annotated[int, _Help(ge=1, description="URLs that are watched at the same time")] = 20_000
    cache_size: Annotated[int, _Help(ge=0, description="bytes of answers kept in the cache; 0: no cache")] = (
        64 << 20
    )
    share: Annotated[
        Literal["public", "none"],
        _Help(description="which answers clients share: public ones, or none"),
    ] = "public"
    memory_limit: Annotated[
        int,
        _Help(ge=0, description="memory that the service may use, in bytes or as 512MiB; 0: the system's limit"),
    ] = 0
    overload_lag: Annotated[
        float,
        _Help(ge=0, description="event loop lag at which new clients are refused, in seconds"),
    ] = 2.0
    handshake_time: Annotated[
        float, _Help(gt=0, description="seconds in which a connection must send its next request")
    ] = 15.0
    auth_time: Annotated[
        float,
        _Help(ge=0, description="seconds in which a WebSocket without a token must authenticate"),
    ] = 0.0
    heartbeat: Annotated[float, _Help(gt=0, description="seconds between two heartbeats")] = 25.0
    body_time: Annotated[float, _Help(gt=0, description="seconds in which the body of a request must arrive")] = (
        10.0
    )
    drain: Annotated[float, _Help(ge=0, description="seconds that a drain may take when the service stops")] = 10.0
    log_format: Annotated[
        Literal["auto", "text", "json"], _Help(description="text, json, or auto: text for a terminal, else json")
    ] = "auto"

    fitted: Annotated[tuple[str, ...], _Help(extra={"found": True})] = ()
    """The settings that are lower than their default, as the machine has too little for that."""
    warnings: Annotated[tuple[str, ...], _Help(extra={"found": True})] = ()
    """What was set and may well be too much for the machine."""

    def __repr__(self) -> str:
        """Show no secret where an object is shown."""
        return f"<Settings {self.host}:{self.port}>"

    @property
    def signed(self) -> bool:
        """Whether signed tokens are taken."""
        return self.jwt_secret is not None or self.jwt_secret_file is not None or bool(self.jwt_key)

    @property
    def nets(self) -> tuple[Network, ...]:
        """``allow_net`` as networks."""
        return tuple(ip_network(text) for text in self.allow_net)


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return the context to listen with, or None; raises OSError for files that do not fit."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return checks.tls_context(settings.tls_cert, settings.tls_key)
