"""Each thing that has to be so before the service runs, wrong once: the line names the option and what to do."""

import errno
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from service.config import checks


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


Pair = Callable[[str], tuple[str, str]]


@pytest.fixture
def pair(authority: trustme.CA, tmp_path: Path) -> Pair:
    def write(name: str) -> tuple[str, str]:
        issued = authority.issue_cert("localhost")
        cert, key = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        issued.cert_chain_pems[0].write_to_path(cert)
        issued.private_key_pem.write_to_path(key)
        return str(cert), str(key)

    return write


def test_a_pair_that_was_issued_together_is_good(pair: Pair) -> None:
    assert checks.tls(*pair("a")) == []
    assert checks.tls(None, None) == []


def test_one_file_of_a_pair_is_not_enough(pair: Pair) -> None:
    for files in ((pair("a")[0], None), (None, pair("a")[1])):
        assert "give both" in checks.tls(*files)[0]


def test_the_key_of_another_certificate_is_found_out(pair: Pair) -> None:
    (line,) = checks.tls(pair("a")[0], pair("b")[1])
    assert "the key is not the certificate's" in line


def test_a_key_with_a_password_is_found_out_without_asking_for_it(pair: Pair) -> None:
    cert, key = pair("a")
    loaded = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    Path(key).write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    (line,) = checks.tls(cert, key)
    assert "has a password" in line


def test_files_that_are_not_there_or_something_else_are_named(pair: Pair, tmp_path: Path) -> None:
    cert, key = pair("a")
    assert len(checks.tls("/nowhere/cert", "/nowhere/key")) == 2
    text = tmp_path / "text"
    text.write_text("no certificate")
    for files in ((str(text), key), (cert, str(text)), (str(tmp_path), key)):
        (line,) = checks.tls(*files)
        assert line.startswith("--tls-cert")


def test_an_address_that_can_be_listened_on() -> None:
    assert checks.listening("127.0.0.1", 0) == []
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        # A check of the settings of the service that runs finds its port in use.
        assert checks.listening("127.0.0.1", other.getsockname()[1]) == []


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "no-such-name.invalid", "x" * 300, "a..b", "ä" * 80])
def test_an_address_of_another_machine(host: str) -> None:
    (line,) = checks.listening(host, 0)
    assert line.startswith(f"--host: {host}")


def test_a_machine_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(family: int, kind: int) -> socket.socket:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)
    assert checks.listening("::", 8080) == [
        "--host: :: needs IPv6, which this machine does not have: take an IPv4 address (0.0.0.0)"
    ]


def test_names_that_never_match() -> None:
    wrong = checks.names(["page.example", "https://page.example/a"], ["https://a", "a:80"], ["post"])
    assert [line.split(":")[0] for line in wrong] == [
        *["--allow-origin"] * 2,
        *["--allow-host"] * 2,
        "--allow-method",
    ]
    assert checks.names(["https://page.example:8443", "http://a"], ["a.example", "::1", "[::1]"], ["POST"]) == []


def test_a_secret_of_webhooks_is_read_before_the_service_runs(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    assert checks.webhook_secret(None) == []
    assert "cannot be read" in checks.webhook_secret(str(file))[0]
    file.write_text("whsec_c2hvcnQ=")
    (line,) = checks.webhook_secret(str(file))
    assert "--webhook-secret-file" in line
    assert "24 to 64 bytes" in line
    assert "openssl rand" in line
    file.write_text("whsec_" + "A" * 43 + "=\n")
    assert checks.webhook_secret(str(file)) == []
