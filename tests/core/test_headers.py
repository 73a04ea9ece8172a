"""Headers that clients may have sent, and those that are the service's own."""

import pytest

from service.core.fetching.headers import MOST_HEADERS, check_headers


@pytest.mark.parametrize("name", ["Accept", "X-Api-Key", "Authorization", "Cookie", "If-None-Match", "Range"])
def test_ordinary_headers_are_sent(name: str) -> None:
    assert check_headers({name: "caf\xe9\t 1"}) is None


@pytest.mark.parametrize(
    "name", ["Host", "transfer_encoding", "Content.Length", "PROXY", "Proxy-Authorization", "Sec-Fetch-Site", "TE",
             "X-aws-ec2-metadata-token-ttl-seconds", "Metadata-Flavor"]
)  # fmt: skip
def test_headers_of_the_service_are_refused_in_any_spelling(name: str) -> None:
    assert check_headers({name: "x"}) == f"{name} is set by the service alone"


@pytest.mark.parametrize(
    ("headers", "wrong"),
    [
        ({"": "x"}, "'' is not a header name"),
        ({"a b": "x"}, "'a b' is not a header name"),
        ({"a" * 101: "x"}, "is not a header name"),
        ({"a": "x\r\ny: z"}, "a has a value that no header has"),
        ({"a": "€"}, "a has a value that no header has"),
        ({"a": "x" * 4097}, "a has a value that no header has"),
        ({f"a{number}": "" for number in range(MOST_HEADERS + 1)}, f"at most {MOST_HEADERS}"),
    ],
)
def test_what_no_header_is_is_named(headers: dict[str, str], wrong: str) -> None:
    assert wrong in (check_headers(headers) or "")
