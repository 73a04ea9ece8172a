"""Secrets are in no text that leaves the program."""

import html
import json
from argparse import Namespace
from urllib.parse import quote

import pytest

from loadtest.masking import MASK, Secrets


def secrets(**more: object) -> Secrets:
    return Secrets(Namespace(**{"token": "", "header": [], "url": "http://h", "path": "", **more}))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--token", "ab"],
        ["--token=ab"],
        ["--tok", "ab"],
        ["--header", "Authorization: ab"],
        ["--header=cookie: ab"],
        ["--head", "X-Api-Key: ab"],
    ],
)
def test_the_command_line_shows_no_credentials(arguments: list[str]) -> None:
    shown = secrets().command(["connect", *arguments, "--clients", "5"])
    assert "ab" not in shown
    assert MASK in shown
    assert shown.endswith("--clients 5")


def test_what_is_not_secret_is_shown() -> None:
    assert (
        secrets().command(["connect", "--header", "Origin: x", "--topic", "t"])
        == "connect --header 'Origin: x' --topic t"
    )


@pytest.mark.parametrize("write", [str, json.dumps, html.escape, lambda text: quote(text, safe=""), repr])
def test_a_secret_is_hidden_however_it_is_written(write: object) -> None:
    text = write('s3cret<&"/x')  # type: ignore[operator]
    assert "s3cret" not in secrets(token='s3cret<&"/x').masked(f"closed with 4000 {text}")


@pytest.mark.parametrize(
    "given",
    [
        {"header": ["Authorization: Bearer s3cret"]},
        {"header": ["Authorization: s3cret"]},
        {"header": ["Cookie: a=1; sid=s3cret"]},
        {"header": ["X-Auth-Token: s3cret"]},
        {"url": "http://me:s3cret@h/"},
        {"url": "ws://h/?access_token=s3cret"},
        {"path": "/ws?key=s3cret"},
        {"crash": "sluice serve --token s3cret"},
        {"crash": "env SLUICE_JWT_SECRET=s3cret sluice serve --jwt-secret=s3cret"},
    ],
)
def test_secrets_are_found_where_they_stand(given: dict[str, object]) -> None:
    assert "s3cret" not in secrets(**given).masked("the peer said: s3cret!")


def test_a_document_is_masked_and_its_histograms_are_left() -> None:
    masked = secrets(token="s3cret").document(
        {"errors": {"bad s3cret": 1}, "notes": ["s3cret"], "histograms": {"x": "s3cret"}}
    )
    assert masked == {"errors": {f"bad {MASK}": 1}, "notes": [MASK], "histograms": {"x": "s3cret"}}
