"""How many requests `sluice fetch` makes at once, by the limit of open files."""

import resource

import pytest

from service.commands.fetch.options import fitting_concurrency


@pytest.mark.parametrize(("hard", "wanted", "fitting"), [(32, 100, 1), (80, 100, 30), (1000, 100, 100)])
def test_as_many_as_the_limit_allows(monkeypatch: pytest.MonkeyPatch, hard: int, wanted: int, fitting: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (hard, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert fitting_concurrency(wanted) == fitting


def test_a_limit_with_which_nothing_works_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (31, 31))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    with pytest.raises(ValueError, match=r"the open file limit \(ulimit -Hn\) is 31: raise it to 32 or more"):
        fitting_concurrency(1)
