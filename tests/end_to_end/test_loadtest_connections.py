"""How the load generator gets to a server: addresses, headers, TLS, credentials; and that no secret is shown."""

import ssl
from collections import Counter
from pathlib import Path

import orjson
import pytest
import trustme

from tests.end_to_end.peers import echo, peers
from tests.end_to_end.processes import loadtest, run

ECHO = (
    "echo",
    "--target",
    "echo",
    "--clients",
    "2",
    "--rate",
    "20",
    "--duration",
    "0.5",
    "--threshold",
    "round_trips==10",
)


async def test_headers_query_and_host_arrive_as_given() -> None:
    async with peers(echo, accept=b"sec-websocket-accept:") as server:
        code, out, err = await run(*loadtest(
            *ECHO, "--url", f"{server.url}/chat?room=1&x=%2F", "--header", "Host: other.example", "--header", "Cookie: a=1",
            "--header", "Cookie: b=2",
        ))  # fmt: skip
    assert code == 0, out + err
    upgrades = [head for head in server.heads if "Sec-WebSocket-Key" in head]
    assert len(upgrades) == 2
    for head in upgrades:
        lines = Counter(head.split("\r\n"))
        assert head.startswith("GET /chat/echo?room=1&x=%2F HTTP/1.1\r\n")
        assert lines["Host: other.example"] == lines["Cookie: a=1"] == lines["Cookie: b=2"] == 1
        assert head.lower().count("\r\nhost:") == 1


async def test_a_name_whose_first_address_refuses() -> None:
    async with peers(echo) as server:
        code, out, err = await run(*loadtest(*ECHO, "--url", server.url.replace("127.0.0.1", "localhost")))
    assert code == 0, out + err


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client = authority.issue_cert("client@example.org")
    client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    return authority


def secure(authority: trustme.CA, *names: str, ask: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    if ask:
        context.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(context)
    return context


@pytest.mark.seconds(20)
async def test_tls_with_an_authority_of_ones_own(tmp_path: Path, authority: trustme.CA) -> None:
    ca = str(tmp_path / "ca.pem")
    async with peers(echo, tls=secure(authority, "127.0.0.1")) as server:
        code, _, err = await run(*loadtest(*ECHO, "--url", server.url))
        assert code == 1
        assert "--ca FILE names who signed it, --insecure takes any certificate" in err
        for options in (("--ca", ca), ("--insecure",)):
            code, out, err = await run(*loadtest(*ECHO, "--url", server.url, *options))
            assert code == 0, out + err
    async with peers(echo, tls=secure(authority, "named.example")) as server:
        assert (await run(*loadtest(*ECHO, "--url", server.url, "--ca", ca)))[0] == 1
        code, out, err = await run(*loadtest(*ECHO, "--url", server.url, "--ca", ca, "--sni", "named.example"))
        assert code == 0, out + err


async def test_a_client_certificate_is_shown(tmp_path: Path, authority: trustme.CA) -> None:
    async with peers(echo, tls=secure(authority, "127.0.0.1", ask=True)) as server:
        options = (*ECHO, "--url", server.url, "--ca", str(tmp_path / "ca.pem"))
        assert (await run(*loadtest(*options)))[0] == 1
        code, out, err = await run(*loadtest(*options, "--cert", str(tmp_path / "client.pem")))
        assert code == 0, out + err


@pytest.mark.parametrize("where", ["option", "file", "variable", "default", "header"])
async def test_credentials_arrive_and_are_shown_nowhere(tmp_path: Path, where: str) -> None:
    secret, env = "s3cret-t0ken", {}
    (tmp_path / "token").write_text(secret + "\n")
    options = {
        "option": ("--token", secret),
        "file": ("--token-file", str(tmp_path / "token")),
        "variable": ("--token-env", "MY_TOKEN"),
        "default": (),
        "header": ("--header", f"Authorization: Bearer {secret}"),
    }[where]
    if where in ("variable", "default"):
        env = {"MY_TOKEN" if where == "variable" else "LOADTEST_TOKEN": secret}
    report, page = tmp_path / "r.json", tmp_path / "r.html"
    # The server tells it to everyone who reads a close reason.
    async with peers(lambda peer, payload: peer.close(4000, f"no, {secret}".encode())) as server:
        _, out, err = await run(*loadtest(
            "echo", "--target", "echo", "--url", server.url, "--clients", "2", "--rate", "20", "--duration", "0.5", *options,
            "--json", str(report), "--html", str(page),
        ), env=env)  # fmt: skip
    upgrades = [head for head in server.heads if "Sec-WebSocket-Key" in head]
    others = [head for head in server.heads if "Sec-WebSocket-Key" not in head]
    assert all(f"Authorization: Bearer {secret}\r\n" in head for head in upgrades)
    assert others
    assert not any("Authorization" in head for head in others)
    for text in (out, err, report.read_text(), page.read_text()):
        assert secret not in text
        assert text.count("no, ***") or text == out
    assert "4000" in " ".join(orjson.loads(report.read_bytes())["errors"])


async def test_metrics_are_asked_with_credentials_by_option() -> None:
    async with peers(echo) as server:
        await run(*loadtest(*ECHO, "--url", server.url, "--token", "s3cret", "--metrics-credentials"))
    assert any(head.startswith("GET /metrics") and "Bearer s3cret" in head for head in server.heads)
