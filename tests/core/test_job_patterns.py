"""The claim ``jobs``: kinds, and functions by their names."""

import pytest

from service.core.access.job_patterns import EVERY_JOB, NO_JOB, read_jobs
from service.core.errors import Forbidden, Unauthorized


def test_true_covers_all_and_nothing_covers_nothing() -> None:
    assert (read_jobs(True), read_jobs(False), read_jobs([])) == (EVERY_JOB, NO_JOB, NO_JOB)
    for kind in ("call", "publish", "fetch", "run"):
        EVERY_JOB.check(kind, None)
        with pytest.raises(Forbidden, match="claim jobs"):
            NO_JOB.check(kind, None)
    with pytest.raises(Forbidden, match="does not have it"):
        NO_JOB.check_any()
    EVERY_JOB.check_any()


def test_functions_are_named_or_begin_so() -> None:
    patterns = read_jobs(["publish", "run:resize", "run:video.*"])
    patterns.check("publish", None)
    for name in ("resize", "video.cut", "video."):
        patterns.check("run", name)
    for name in ("resize2", "video", "other"):
        with pytest.raises(Forbidden, match=f"the function '{name}'"):
            patterns.check("run", name)
    read_jobs(["run"]).check("run", "anything")


@pytest.mark.parametrize("claim", [["sell"], ["run:"], ["run:a b"], ["run:*x"], ["call"] * 101])
def test_what_is_not_a_pattern_is_refused(claim: list[str]) -> None:
    with pytest.raises(Unauthorized, match="claim jobs"):
        read_jobs(claim)
