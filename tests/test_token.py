"""``sluice token``: what it prints opens the service that has the other half, and what is wrong is one line."""

import argparse
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from service.commands.token import add_options, token
from service.core.access.grants import ClientLimits, Grant
from service.edge.access.tokens import Tokens, public_key, secrets

SECRET = "0123456789abcdef0123456789abcdef"


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(arguments)


def made(capsys: pytest.CaptureFixture[str], *arguments: str, **environ: str) -> str:
    code = token(options(*arguments), {"SLUICE_JWT_SECRET": SECRET, **environ})
    out, err = capsys.readouterr()
    assert code == 0, err
    assert out.count("\n") == 1
    return out.strip()


def granted(text: str, **more: Any) -> Grant:
    return Tokens(secrets(SECRET), **more).verify(text)


def test_it_grants_what_was_named_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "--sub", "ann", "--subscribe", "news.*", "--subscribe", "_stats", "--publish", "mine", "--fetch", "a.example",
        "--fetch", "*.b.example", "--watch", "all", "--topics", "5", "--rate", "2.5", "--fetches", "3",
        "--weight", "0.5", "--share", "none",
    )  # fmt: skip
    grant = granted(made(capsys, *arguments))
    assert grant.subject == "ann"
    assert [grant.may_read(name) for name in ("news.eu", "_stats", "mine", "watch:x")] == [True, True, False, True]
    assert [grant.publish.allows(name) for name in ("mine", "news.eu")] == [True, False]
    assert [grant.fetch.allows(host) for host in ("a.example", "x.b.example", "b.example")] == [True, True, False]
    assert grant.limits == ClientLimits(5, 2.5, 3, 0.5)
    assert not grant.shares_fetches


@pytest.mark.parametrize(
    ("text", "seconds"), [(None, 3600), ("30s", 30), ("15m", 900), ("2h", 7200), ("7d", 604_800)]
)
def test_it_lives_as_long_as_was_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str | None, seconds: int
) -> None:
    monkeypatch.setattr("service.commands.token.time.time", lambda: 4e9)
    arguments = ("--expires", text) if text else ()
    made_now = made(capsys, "--subscribe", "a", *arguments)
    assert granted(made_now, leeway=4e9).expires == 4e9 + seconds


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_a_private_key_signs_for_the_service_that_has_the_public_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, kind: str
) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP256R1())
    private, public = tmp_path / "private.pem", tmp_path / "2026-11.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    text = made(capsys, "--key", str(private), "--kid", "2026-11", "--sub", "ann")
    assert Tokens(public_key(str(public))).verify(text).subject == "ann"


def test_the_issuer_and_the_audience_are_the_services(capsys: pytest.CaptureFixture[str]) -> None:
    environ = {"SLUICE_JWT_AUDIENCE": "sluice", "SLUICE_JWT_ISSUER": "me"}
    granted(made(capsys, **environ), audience="sluice", issuer="me")
    granted(made(capsys, "--audience", "other", **environ), audience="other", issuer="me")


def test_an_option_wins_over_the_environment_and_the_first_secret_signs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other, file = "f" * 32, tmp_path / "secrets"
    file.write_text(f"{SECRET}\n{other}\n")
    assert granted(made(capsys, "--secret-file", str(file), SLUICE_JWT_SECRET=other)).expires
    assert granted(made(capsys, SLUICE_JWT_SECRET="", SLUICE_JWT_SECRET_FILE=str(file))).expires


def test_a_token_that_grants_nothing_is_made_with_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert token(options("--sub", "ann"), {"SLUICE_JWT_SECRET": SECRET}) == 0
    assert "grants nothing" in capsys.readouterr().err


def test_a_token_may_grant_jobs_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert token(options("--job", "publish", "--job", "run:video.*"), {"SLUICE_JWT_SECRET": SECRET}) == 0
    made = capsys.readouterr()
    assert made.err == ""
    claims = jwt.decode(made.out.strip(), SECRET, algorithms=["HS256"])
    assert claims["jobs"] == ["publish", "run:video.*"]
    assert token(options("--job", "all"), {"SLUICE_JWT_SECRET": SECRET}) == 0
    assert jwt.decode(capsys.readouterr().out.strip(), SECRET, algorithms=["HS256"])["jobs"] is True


@pytest.mark.parametrize(
    ("arguments", "environ", "named"),
    [
        ([], {}, "--key or --secret-file, or set SLUICE_JWT_SECRET"),
        ([], {"SLUICE_JWT_SECRET": "secret-too-short"}, "SLUICE_JWT_SECRET: shorter than 32"),
        ([], {"SLUICE_JWT_SECRET_FILE": "/nowhere"}, "SLUICE_JWT_SECRET_FILE: cannot be read: No such file"),
        (["--key", "/nowhere"], {}, "--key: cannot be read"),
        (["--subscribe", "a b"], {"SLUICE_JWT_SECRET": SECRET}, "claim subscribe: 'a b' is neither a topic"),
        (["--fetch", "http://a/"], {"SLUICE_JWT_SECRET": SECRET}, "claim fetch: 'http://a/' is neither a host"),
        (["--topics", "0"], {"SLUICE_JWT_SECRET": SECRET}, "claim limits.topics"),
        (["--sub", "x" * 300], {"SLUICE_JWT_SECRET": SECRET}, "claim sub"),
        (["--issuer", "x" * 9000], {"SLUICE_JWT_SECRET": SECRET}, "at most 8192"),
    ],
)
def test_what_is_wrong_is_one_line_that_shows_no_secret(
    capsys: pytest.CaptureFixture[str], arguments: list[str], environ: dict[str, str], named: str
) -> None:
    assert token(options(*arguments), environ) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert named in err
    assert not any(secret in err for name, secret in environ.items() if name == "SLUICE_JWT_SECRET")


@pytest.mark.parametrize("text", ["1", "1y", "0h", "-1h", "1.5h", "h", "1000000000h"])
def test_a_time_has_a_number_and_a_unit(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with pytest.raises(SystemExit):
        options(f"--expires={text}")
    assert "such as 1h" in capsys.readouterr().err
