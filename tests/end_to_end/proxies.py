"""nginx and HAProxy with the configurations of docs/operations.md, but for ports, paths and the machine's limits."""

import asyncio
import re
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.end_to_end.processes import ROOT, free_port, program, start

_ANSWERING = 20.0


@dataclass
class Proxy:
    """A proxy that runs; clients come to ``https://localhost:PORT``, and trust what ``tls`` trusts."""

    port: int
    tls: ssl.SSLContext | None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}"


def block(language: str) -> str:
    """Return the one fenced block of the document in this language."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "operations.md").read_text(), re.DOTALL)
    assert len(blocks) == 1, language
    return str(blocks[0])


def replaced(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"{old} is not in the document any more"
        text = text.replace(old, new)
    return text


@asynccontextmanager
async def nginx(first: int, second: int, *, tls: bool = True, connections: int = 500) -> AsyncIterator[Proxy]:
    """Run nginx before two instances."""
    binary = program("nginx", "Debian: nginx-light")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        temp = "".join(
            f"{kind}_temp_path {name}/t; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        port = free_port()
        changes = {
            "worker_rlimit_nofile 65536": f"worker_rlimit_nofile {2 * connections}",
            "worker_connections 32768": f"worker_connections {connections}",
            "/run/nginx.pid": f"{name}/pid",
            "/var/log/nginx/error.log": f"{name}/error.log",  # a pipe that nobody reads would stop it when full
            "http {": f"http {{ {temp}",
            "listen 443 " if tls else "listen 443 ssl ": f"listen 127.0.0.1:{port} ",
            "/etc/ssl/sluice.pem": f"{name}/cert.pem",
            "/etc/ssl/sluice.key": f"{name}/key.pem",
            "127.0.0.1:8080": f"127.0.0.1:{first}",
            "127.0.0.1:8081": f"127.0.0.1:{second}",
        }
        file = folder / "nginx.conf"
        file.write_text(replaced(block("nginx"), changes))
        async with _running(folder, port, binary, "-c", str(file), "-g", "daemon off;", tls=tls) as proxy:
            yield proxy


@asynccontextmanager
async def haproxy(first: int, second: int) -> AsyncIterator[Proxy]:
    """Run HAProxy before two instances."""
    binary = program("haproxy", "Debian: haproxy")
    with tempfile.TemporaryDirectory() as name:
        port = free_port()
        changes = {
            "maxconn 32768": "maxconn 500",
            "bind :443 ": f"bind 127.0.0.1:{port} ",
            "/etc/ssl/sluice-both.pem": f"{name}/both.pem",
            "127.0.0.1:8080": f"127.0.0.1:{first}",
            "127.0.0.1:8081": f"127.0.0.1:{second}",
        }
        file = Path(name) / "haproxy.cfg"
        file.write_text(replaced(block("haproxy"), changes))
        async with _running(Path(name), port, binary, "-db", "-f", str(file)) as proxy:
            yield proxy


@asynccontextmanager
async def _running(folder: Path, port: int, *argv: str, tls: bool = True) -> AsyncIterator[Proxy]:
    """Issue a certificate, start the proxy, and wait until it passes on what it is asked."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    context = ssl.create_default_context() if tls else None
    if context is not None:
        authority.configure_trust(context)
    process = await start(*argv)
    try:
        async with asyncio.timeout(_ANSWERING):
            while not await _ready(port, context):
                assert process.process.returncode is None, (await process.process.communicate())[1].decode()
                await asyncio.sleep(0.05)  # another program's start: there is nothing to wait on
        yield Proxy(port, context)
        await process.stop()
    finally:
        await process.close()


async def _ready(port: int, tls: ssl.SSLContext | None) -> bool:
    name = "localhost" if tls else None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name)
    except OSError:
        return False
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer.startswith(b"HTTP/1.1 200 ")
