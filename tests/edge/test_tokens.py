"""Signed tokens: any text is verified or refused, and the cheap reasons come first."""

import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from service.core.access.grants import ClientLimits
from service.core.errors import Unauthorized
from service.edge.access.tokens import (
    LONGEST,
    SigningKey,
    Tokens,
    UnusableKey,
    private_key,
    public_key,
    secrets,
    secrets_file,
    sign,
)

SECRET = "0123456789abcdef0123456789abcdef"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
OTHER_EC = ec.generate_private_key(ec.SECP256R1())
HMAC_KEY, RSA_KEY, EC_KEY = secrets(SECRET)[0], SigningKey("RS256", RSA), SigningKey("ES256", EC)
PUBLIC = [HMAC_KEY, SigningKey("RS256", RSA.public_key(), "rsa"), SigningKey("ES256", EC.public_key(), "ec")]


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "ann", "exp": int(time.time()) + 100, "subscribe": ["news.*"], **more}


def segment(value: Any) -> str:
    return urlsafe_b64encode(value if isinstance(value, bytes) else orjson.dumps(value)).rstrip(b"=").decode()


def refused(tokens: Tokens, token: str) -> str:
    with pytest.raises(Unauthorized) as refusal:
        tokens.verify(token)
    assert token not in refusal.value.detail
    return refusal.value.detail


@pytest.mark.parametrize("key", [HMAC_KEY, RSA_KEY, EC_KEY], ids=lambda key: key.algorithm)
def test_each_kind_of_key_verifies_what_its_owner_signed(key: SigningKey) -> None:
    tokens = Tokens(PUBLIC)
    grant = tokens.verify(sign(claims(), key))
    assert grant.subject == "ann"
    assert grant.may_read("news.eu")
    assert not grant.may_read("other")
    assert tokens.statistics().signatures == 1


@pytest.mark.parametrize(
    "key", [SigningKey("HS256", b"x" * 32), SigningKey("ES256", OTHER_EC)], ids=lambda key: key.algorithm
)
def test_another_key_opens_nothing(key: SigningKey) -> None:
    assert refused(Tokens(PUBLIC), sign(claims(), key)) == "token: not valid"


def test_no_public_key_serves_as_a_secret() -> None:
    """The oldest attack: sign with HS256 and the PEM text of the RSA key that everybody may have."""
    pem = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, body = segment({"alg": "HS256", "typ": "JWT"}), segment(claims())
    import hashlib
    import hmac

    forged = f"{head}.{body}.{segment(hmac.digest(pem, f'{head}.{body}'.encode(), hashlib.sha256))}"
    tokens = Tokens(PUBLIC[1:])
    assert refused(tokens, forged) == "token: not valid"
    assert tokens.statistics().signatures == 0
    assert refused(Tokens(PUBLIC), forged) == "token: not valid"


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "None"},
        {"alg": ""},
        {"alg": "HS384"},
        {"alg": "hs256"},
        {"alg": "PS256"},
        {"alg": ["HS256"]},
        {"alg": "HS256", "kid": 5},
        {"alg": "HS256", "crit": ["b64"], "b64": False},
        {"typ": "JWT"},
        ["HS256"],
        {"alg": "HS256", "x": "y" * 1000},
    ],
)
def test_a_header_that_no_key_has_costs_no_signature(header: Any) -> None:
    tokens = Tokens(PUBLIC)
    assert refused(tokens, f"{segment(header)}.{segment(claims())}.{segment(b'x' * 32)}") == "token: not valid"
    assert tokens.statistics().signatures == 0
    assert tokens.statistics().refused == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        "a b.c.d",
        "é.b.c",
        "a.b.c\n",
        "\udc80.b.c",
        "x" * 100_000,
        segment(b"[" * 700) + ".e30.e30",
        segment(b'{"alg":"HS256","crit":' + b"[" * 700) + ".e30.e30",
    ],
)
def test_a_malformed_token_costs_no_signature(text: str) -> None:
    tokens = Tokens(PUBLIC)
    with pytest.raises(Unauthorized):
        tokens.verify(text)
    assert tokens.statistics().signatures == 0


def test_the_length_is_bounded() -> None:
    tokens = Tokens(PUBLIC)
    token = sign(claims(filler="x" * 5000), HMAC_KEY)
    tokens.verify(token)
    long = sign(claims(filler="x" * 6200), HMAC_KEY)
    assert len(long) > LONGEST
    assert "8192" in refused(tokens, long)


@given(st.text(max_size=200) | st.lists(st.binary(max_size=60).map(segment), min_size=3, max_size=3).map(".".join))
def test_any_text_is_refused_by_the_one_error(text: str) -> None:
    with pytest.raises(Unauthorized):
        Tokens(PUBLIC).verify(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["exp", "nbf", "iat", "aud", "iss", "sub", "jti", "subscribe", "fetch", "limits", "x"])


@given(st.dictionaries(NAMES, JSON, max_size=6))
def test_any_claims_under_a_right_signature_are_read_or_refused(body: dict[str, Any]) -> None:
    """The signer may be wrong too; all of the library's errors stop here."""
    tokens = Tokens(PUBLIC)
    outcome: object
    try:
        grant = tokens.verify(jwt.encode(body, SECRET, "HS256"))
    except (Unauthorized, TypeError) as error:
        # A TypeError is the signing side's: it refuses an issuer that is not text.
        outcome = error if isinstance(error, Unauthorized) or "iss" in str(error) else None
    else:
        outcome = grant if grant.expires is not None else None
    assert outcome is not None


@given(st.data())
def test_a_token_that_was_changed_anywhere_is_refused(data: st.DataObject) -> None:
    """Except in the last character of a segment, where base64 has bits that say nothing."""
    token = sign(claims(), EC_KEY)
    ends = {token.index(".") - 1, token.rindex(".") - 1, len(token) - 1}
    at = data.draw(st.integers(0, len(token) - 1).filter(lambda at: at not in ends))
    other = data.draw(st.sampled_from("ABab01-_.").filter(lambda char: char != token[at]))
    refused(Tokens(PUBLIC), token[:at] + other + token[at + 1 :])


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"exp": None}, "claim exp: missing"),
        ({"exp": 0}, "expired"),
        ({"exp": int(time.time()) - 60}, "expired"),
        ({"nbf": int(time.time()) + 10_000}, "not valid yet"),
        ({"iat": int(time.time()) + 10_000}, "not valid yet"),
        ({"aud": "elsewhere"}, "aud"),
        ({"aud": None}, "aud"),
        ({"iss": "mallory"}, "iss"),
        ({"iss": None}, "iss"),
        ({"fetch": "all"}, "claim fetch"),
    ],
)
def test_what_is_wrong_under_a_right_signature_is_named(more: dict[str, Any], named: str) -> None:
    body = claims(aud="sluice", iss="issuer", **more) if not more.keys() & {"aud", "iss"} else None
    body = body or {**claims(aud="sluice", iss="issuer"), **more}
    token = sign({name: value for name, value in {**body, **more}.items() if value is not None}, HMAC_KEY)
    assert named in refused(Tokens(PUBLIC, audience="sluice", issuer="issuer", leeway=5.0), token)


def test_an_audience_that_nobody_asked_for_is_not_ours() -> None:
    assert "aud" in refused(Tokens(PUBLIC), sign(claims(aud="elsewhere"), HMAC_KEY))


def test_clocks_may_differ_by_the_leeway() -> None:
    now = int(time.time())
    tokens = Tokens(PUBLIC, leeway=30.0)
    grant = tokens.verify(sign(claims(exp=now - 10, nbf=now + 10, iat=now + 10), HMAC_KEY))
    assert (grant.expires, grant.until) == (now - 10, now + 20)


def test_a_key_is_found_by_its_name_and_otherwise_among_all_of_its_kind() -> None:
    tokens = Tokens(
        [SigningKey("ES256", OTHER_EC.public_key(), "old"), SigningKey("ES256", EC.public_key(), "new")]
    )
    for kid, signatures in (("new", 1), (None, 2), ("unknown", 2)):
        before = tokens.statistics().signatures
        tokens.verify(sign(claims(n=kid), EC_KEY, kid))
        assert tokens.statistics().signatures - before == signatures
    refused(tokens, sign(claims(), EC_KEY, "old"))


def test_a_token_is_remembered_until_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = Tokens(PUBLIC, leeway=5.0)
    token = sign(claims(), EC_KEY)
    grant = tokens.verify(token)
    assert tokens.verify(token) is grant
    assert tokens.statistics().signatures == 1
    later = time.time() + 106
    monkeypatch.setattr("service.edge.access.tokens.time.time", lambda: later)
    assert refused(tokens, token) == "token: expired"
    assert tokens.statistics().remembered == 0


def test_a_bounded_number_is_remembered() -> None:
    tokens = Tokens(PUBLIC)
    first = sign(claims(n=-1), HMAC_KEY)
    for number in range(4095):
        tokens.verify(sign(claims(n=number), HMAC_KEY))
    tokens.verify(first)
    tokens.verify(sign(claims(n=-2), HMAC_KEY))
    tokens.verify(sign(claims(n=-3), HMAC_KEY))
    signatures = tokens.statistics().signatures
    assert tokens.statistics().remembered == 4096
    tokens.verify(first)
    assert tokens.statistics().signatures == signatures
    tokens.verify(sign(claims(n=0), HMAC_KEY))
    assert tokens.statistics().signatures == signatures + 1


def test_wrong_tokens_are_not_remembered() -> None:
    tokens = Tokens(PUBLIC)
    for _ in range(2):
        refused(tokens, sign(claims(), SigningKey("ES256", OTHER_EC)))
    assert tokens.statistics().remembered == 0
    assert tokens.statistics().refused == 2


def test_limits_go_as_far_as_the_operator_says() -> None:
    tokens = Tokens(PUBLIC, most=ClientLimits(topics=10))
    assert tokens.verify(sign(claims(limits={"topics": 50, "fetches": 3}), HMAC_KEY)).limits == ClientLimits(
        topics=10, fetches=3
    )


def pem(key: Any, *, public: bool = False, passphrase: bytes | None = None) -> bytes:
    if public:
        found: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    else:
        how = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        found = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)
    return found


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
def test_files_have_the_keys_and_their_names(tmp_path: Path, key: Any, algorithm: str) -> None:
    (tmp_path / "2026-11.pem").write_bytes(pem(key, public=True))
    (tmp_path / "private").write_bytes(pem(key))
    (read,) = public_key(str(tmp_path / "2026-11.pem"))
    assert (read.algorithm, read.name) == (algorithm, "2026-11")
    assert Tokens([read]).verify(sign(claims(), private_key(str(tmp_path / "private"))[0])).subject == "ann"


@pytest.mark.parametrize(
    ("content", "read", "named"),
    [
        (pem(RSA), public_key, "private key"),
        (pem(rsa.generate_private_key(65537, 1024), public=True), public_key, "1024 bits"),
        (pem(ec.generate_private_key(ec.SECP384R1()), public=True), public_key, "P-256"),
        (pem(ed25519.Ed25519PrivateKey.generate(), public=True), public_key, "P-256"),
        (b"text", public_key, "not a public key"),
        (b"", public_key, "not a public key"),
        (pem(EC, public=True), private_key, "not a private key"),
        (pem(EC, passphrase=b"x"), private_key, "passphrase"),
        (b"short", secrets_file, "32 bytes"),
        (f"{SECRET}\nshort\n".encode(), secrets_file, "32 bytes"),
        (b" \n\n", secrets_file, "empty"),
        (b"\xff" * 40, secrets_file, "not text"),
        (pem(EC, public=True), secrets_file, "PEM"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_not_what(
    tmp_path: Path, content: bytes, read: Callable[[str], list[SigningKey]], named: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UnusableKey, match=named) as wrong:
        read(str(path))
    for line in content.split():
        assert line.decode("latin-1") not in str(wrong.value).split() or len(line) < 5
    with pytest.raises(UnusableKey, match="cannot be read: No such file"):
        read(str(tmp_path / "missing"))


def test_a_file_may_have_an_old_secret_beside_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_text(f"{'n' * 32}\n{SECRET}\n")
    new, old = secrets_file(str(path))
    tokens = Tokens([new, old])
    for key in (new, old):
        assert tokens.verify(sign(claims(), key)).subject == "ann"


def test_nothing_shows_a_secret() -> None:
    tokens = Tokens(PUBLIC)
    tokens.verify(sign(claims(), HMAC_KEY))
    for thing in (HMAC_KEY, tokens, tokens.statistics()):
        assert SECRET[:8] not in repr(thing) + str(thing)
