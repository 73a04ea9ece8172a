"""Signatures of Standard Webhooks."""

from base64 import b64decode, b64encode

import pytest

from service.core.jobs.webhooks import read_secret, signature


@pytest.mark.parametrize(
    ("secret", "webhook_id", "timestamp", "body", "signed"),
    [
        (
            "plJ3nmyCDGBKInavdOK15jsl", "msg_loFOjxBNrRLzqYUf", "1731705121",
            '{"event_type":"ping","data":{"success":true}}', "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
        ),
        (
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330",
            '{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
    ],
)  # fmt: skip
def test_published_vectors(secret: str, webhook_id: str, timestamp: str, body: str, signed: str) -> None:
    assert signature(b64decode(secret), webhook_id, timestamp, body) == signed


def test_a_secret_is_read_with_and_without_its_prefix() -> None:
    raw = bytes(range(32))
    text = b64encode(raw).decode()
    assert read_secret(text) == read_secret(f"whsec_{text}\n") == raw


@pytest.mark.parametrize("size", range(24, 65))
def test_a_secret_is_read_without_its_padding_too(size: int) -> None:
    raw = bytes(range(size))
    assert read_secret("whsec_" + b64encode(raw).decode().rstrip("=")) == raw


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "whsec_!!!!",
        "v1,whsec_" + "A" * 32,
        "whsec_" + "A" * 33,
        "whsec_" + "A" * 40 + " A",
        b64encode(b"x" * 23).decode(),
        b64encode(b"x" * 65).decode(),
    ],
)
def test_what_is_not_a_secret_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"24 to 64 bytes|base64|padding|alphabet"):
        read_secret(text)
