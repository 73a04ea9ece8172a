"""What the load generator needs of its own machine, and what it says where that is not there."""

import resource

import pytest

from loadtest.command import main
from loadtest.self_monitor import descriptors


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (request.param, request.param))


@pytest.mark.parametrize(
    ("limit", "needed", "advice"),
    [
        (1024, 974, None),
        (resource.RLIM_INFINITY, 10**6, None),
        (1024, 975, "limit is 1024: --processes 2, fewer --clients, or raise it (ulimit -Hn)"),
        (256, 2000, "limit is 256: --processes 10, fewer --clients, or raise it (ulimit -Hn)"),
        (50, 1, "limit is 50: raise it (ulimit -Hn)"),
        (32, 22, "limit is 32: raise it (ulimit -Hn)"),
    ],
    indirect=["limit"],
)
@pytest.mark.usefixtures("limit")
def test_advice_for_too_few_descriptors_can_be_followed(needed: int, advice: str | None) -> None:
    found = descriptors(needed)
    assert (found or "").endswith(advice or "")
    assert (found is None) == (advice is None)


@pytest.mark.parametrize("limit", [16, 50], indirect=True)
@pytest.mark.usefixtures("limit")
def test_with_too_few_for_any_run_it_says_so_and_does_not_begin(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["connect", "--url", "http://127.0.0.1:1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("loadtest: 2 sockets of one process need 52 descriptors")
