"""Settings from options and environment: what wins, and one clear line for everything that is wrong."""

import argparse
import os
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from service.__main__ import main
from service.config.configuration import SettingsError, add_options, read_settings, shown
from service.config.jwt_keys import jwt_keys
from service.config.settings import Settings

SECRET = "0123456789abcdef0123456789abcdef"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    add_options(made)
    return made


def options(*arguments: str) -> dict[str, Any]:
    return vars(parser().parse_args(arguments))


def test_an_option_wins_over_its_variable_which_wins_over_the_default() -> None:
    environ = {"SLUICE_PORT": "81", "SLUICE_HEARTBEAT": "5"}
    settings = read_settings(options("--port", "80"), environ)
    assert (settings.port, settings.heartbeat, settings.websockets) == (80, 5.0, 10_000)


def test_repeatable_options_are_comma_separated_in_the_environment() -> None:
    environ = {"SLUICE_ALLOW_NET": "10.0.0.0/8, fd00::/8", "SLUICE_ALLOW_PORT": "81,82"}
    settings = read_settings({}, environ)
    assert settings.allow_port == (81, 82)
    assert [str(net) for net in settings.nets] == ["10.0.0.0/8", "fd00::/8"]
    assert read_settings(options("--allow-port", "1", "--allow-port", "2"), environ).allow_port == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "environ", "named"),
    [
        (["--port", "x"], {}, "--port"),
        (["--port", "70000"], {}, "--port"),
        ([], {"SLUICE_PORT": "http"}, "--port"),
        (["--heartbeat", "0"], {}, "--heartbeat"),
        (["--allow-net", "10.0.0.1/8"], {}, "--allow-net"),
        (["--tls-cert", "x"], {}, "--tls-key"),
        (["--host", "0.0.0.0"], {}, "SLUICE_TOKEN"),
        (["--host", "::"], {}, "--no-auth"),
        (["--websockets", "10000000"], {}, "ulimit"),
        (["--token-file", "/nowhere"], {}, "--token-file"),
        ([], {"SLUICE_NO_AUTH": "perhaps"}, "--no-auth"),
        (["--no-auth"], {"SLUICE_TOKEN": "x"}, "--no-auth"),
        (["--token-file", "/nowhere"], {"SLUICE_TOKEN": "x"}, "both"),
        (["--ring-size", "2048", "--rings-size", "1024"], {}, "--ring-size"),
        (["--port", "\udcff"], {}, "--port: is not UTF-8"),
        ([], {"SLUICE_HOST": "caf\udce9"}, "--host: is not UTF-8"),
        ([], {"SLUICE_ALLOW_METHOD": "PUT,\udcff"}, "--allow-method: is not UTF-8"),
        (["--token-file", "a\0b"], {}, "--token-file: has a null character"),
        (["--jwt-key", "a", "--jwt-key", "\0"], {}, "--jwt-key: has a null character"),
        (["--token-file", "/no/caf\udce9"], {}, r"cannot be read \(No such file"),
        (["--celery", "redis://[", "--jobs", "m"], {}, "--celery"),
        (["--host", "[::1]"], {}, r"brackets.*: write ::1"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], environ: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read_settings(options(*arguments), environ)


@pytest.mark.parametrize("given", ["a\nb", "a\r\x1b[31mb", "a\u2028b", "x" * 100_000], ids=ascii)
def test_a_value_makes_one_line_of_what_is_wrong_with_it(given: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        read_settings(options("--host", given, "--token-file", given, "--allow-method", given), {})
    lines = str(wrong.value).split("\n")
    assert [line.partition(":")[0] for line in lines] == ["--token-file", "--host", "--allow-method"]
    assert all(line.isprintable() and len(line) <= 600 for line in lines)


def test_all_of_it_at_once() -> None:
    with pytest.raises(SettingsError) as wrong:
        read_settings(options("--port", "x", "--heartbeat", "y", "--tls-key", "z"), {})
    assert len(str(wrong.value).splitlines()) == 3


def test_beyond_loopback_with_credentials_or_by_saying_so(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(" secret\n")
    assert read_settings(options("--host", "0.0.0.0"), {"SLUICE_TOKEN": "x"}).token == "x"
    assert read_settings(options("--host", "0.0.0.0", "--token-file", str(token)), {}).token == "secret"
    assert read_settings(options("--host", "0.0.0.0", "--no-auth"), {}).host == "0.0.0.0"
    for host in ("127.0.0.2", "::1", "localhost"):
        assert read_settings(options("--host", host), {}).host == host
    token.write_text("")
    with pytest.raises(SettingsError, match="empty"):
        read_settings(options("--token-file", str(token)), {})


def test_every_option_has_a_help_that_names_its_variable() -> None:
    for action in parser()._actions[1:]:
        assert "SLUICE_" in (action.help or ""), action.option_strings


def test_a_secret_of_signed_tokens_has_no_option() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--check-config", "--jwt-secret", SECRET])
    assert ended.value.code == 2
    assert read_settings({}, {"SLUICE_JWT_SECRET": SECRET}).jwt_secret == SECRET


def test_beyond_loopback_with_a_key_of_signed_tokens(tmp_path: Path) -> None:
    secret, key = tmp_path / "secret", tmp_path / "key.pem"
    secret.write_text(SECRET)
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    beyond = ("--host", "0.0.0.0")
    for arguments, environ, algorithms in (
        ((), {"SLUICE_JWT_SECRET": SECRET}, ["HS256"]),
        (("--jwt-secret-file", str(secret)), {}, ["HS256"]),
        (("--jwt-key", str(key)), {}, ["ES256"]),
        (("--jwt-key", str(key)), {"SLUICE_JWT_SECRET": f"{SECRET}\n{SECRET[::-1]}"}, ["HS256", "HS256", "ES256"]),
    ):
        settings = read_settings(options(*beyond, *arguments), environ)
        keys, wrong = jwt_keys(settings)
        assert ([key.algorithm for key in keys], wrong) == (algorithms, [])


@pytest.mark.parametrize(
    ("arguments", "environ", "named"),
    [
        ([], {"SLUICE_JWT_SECRET": ""}, "SLUICE_JWT_SECRET: is empty"),
        ([], {"SLUICE_JWT_SECRET": "secret-too-short"}, "SLUICE_JWT_SECRET: shorter than 32 bytes"),
        ([], {"SLUICE_JWT_SECRET": "\n".join([SECRET] * 9)}, "9 keys, and at most 8"),
        (["--jwt-secret-file", "/nowhere"], {}, "--jwt-secret-file: cannot be read"),
        (
            ["--jwt-key", "/nowhere", "--jwt-key", "/dev/null"],
            {},
            "--jwt-key: /dev/null: cannot be read: it is not",
        ),
        (["--jwt-leeway", "-1"], {}, "--jwt-leeway"),
        (["--jwt-raise", "0.5"], {}, "--jwt-raise"),
    ],
)
def test_a_key_that_cannot_be_used_is_named_and_not_shown(
    arguments: list[str], environ: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsError, match=named) as wrong:
        read_settings(options(*arguments), environ)
    assert "secret-too-short" not in str(wrong.value)


@pytest.mark.parametrize(
    "option", ["token-file", "jwt-secret-file", "jwt-key", "webhook-secret-file", "pipelines", "tls"]
)
def test_files_without_an_end_are_refused(option: str, tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")
    with open(huge := tmp_path / "huge", "wb") as file:
        file.truncate(1 << 40)
    for path, why in (("/dev/zero", "not a regular file"), (fifo, "not a regular file"), (huge, "has more than")):
        names = ["--tls-cert", "--tls-key"] if option == "tls" else [f"--{option}"]
        with pytest.raises(SettingsError, match=why) as wrong:
            read_settings(options(*(word for name in names for word in (name, str(path)))), {})
        assert [line.partition(":")[0] for line in str(wrong.value).split("\n")] == names


def test_nothing_shows_a_secret() -> None:
    settings = read_settings({}, {"SLUICE_JWT_SECRET": SECRET, "SLUICE_TOKEN": "the-static-one"})
    for text in (repr(settings), str(settings), shown(settings)):
        assert SECRET not in text
        assert "the-static-one" not in text
    assert "SLUICE_JWT_SECRET=(not shown)" in shown(settings)


def test_every_setting_has_its_row_in_the_operators_document() -> None:
    """Both ways: what is described exists, and what exists is described."""
    document = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
    tables = "\n".join(line.split("|")[1] for line in document.splitlines() if line.startswith("| `-"))
    described = set(re.findall(r"`--([a-z-]+)", tables))
    known = {action.option_strings[0].removeprefix("--") for action in parser()._actions[1:]}
    assert described == known


def test_the_defaults_in_the_operators_document_are_the_defaults() -> None:
    document = (Path(__file__).parent.parent / "docs" / "operations.md").read_text()
    looked_at = 0
    for line in document.splitlines():
        cells = line.split("|")[1:-1]
        # Tables of three columns have the defaults in their second.
        if line.startswith("| `-") and len(cells) == 3:
            options = re.findall(r"`--([a-z-]+)`", cells[0])
            for option, default in zip(options, cells[1].strip().split("; "), strict=False):
                value = getattr(Settings(), option.replace("-", "_"))
                if isinstance(value, int | float) and not isinstance(value, bool) and default[:1].isdigit():
                    assert amount(default) == value, line
                    looked_at += 1
    assert looked_at > 25


def amount(text: str) -> float:
    """Return the number in what a person reads: ``1,000/s``, ``64 KiB``, ``300 s``."""
    found = re.match(r"([\d,.]+)(?: (KiB|MiB))?", text)
    assert found, text
    return float(found[1].replace(",", "")) * {None: 1, "KiB": 1 << 10, "MiB": 1 << 20}[found[2]]
