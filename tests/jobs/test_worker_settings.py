"""What a worker reads from its environment, and how it logs."""

import logging
from pathlib import Path

import pytest
import trustme

from service.jobs.worker_log import add_particulars
from service.jobs.worker_settings import WorkerUnusable, read_settings

RIGHT = {"SLUICE_CELERY": "redis://localhost", "SLUICE_JOBS": "mine", "SLUICE_URL": "https://sluice.example:8443"}


def test_what_is_right_is_read(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(authority))
    found = read_settings({**RIGHT, "SLUICE_CA": str(authority), "SLUICE_JOB_MEMORY": "0"})
    assert (found.broker, found.module, found.url, found.memory) == (*RIGHT.values(), 0)
    assert found.tls is not None
    assert read_settings(RIGHT).tls is None
    assert read_settings(RIGHT).memory == 2 << 30


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"SLUICE_CELERY": ""}, "SLUICE_CELERY is missing"),
        ({"SLUICE_JOBS": " "}, "SLUICE_JOBS is missing"),
        ({"SLUICE_URL": ""}, "SLUICE_URL is missing"),
        ({"SLUICE_URL": "localhost:8080"}, "SLUICE_URL: localhost:8080 is not"),
        ({"SLUICE_URL": "http://"}, "SLUICE_URL: http:// is not"),
        ({"SLUICE_CA": "/nowhere"}, "SLUICE_CA: /nowhere"),
        ({"SLUICE_CA": "/dev/zero"}, "SLUICE_CA: /dev/zero"),
        ({"SLUICE_CA": __file__}, "SLUICE_CA: "),
        ({"SLUICE_JOB_MEMORY": "much"}, "SLUICE_JOB_MEMORY: much"),
    ],
)
def test_what_is_missing_or_wrong_is_named(more: dict[str, str], named: str) -> None:
    with pytest.raises(WorkerUnusable, match=named):
        read_settings({**RIGHT, **more})


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(WorkerUnusable) as caught:
        read_settings({})
    assert len(str(caught.value).splitlines()) == 3


def test_lines_of_ours_have_their_particulars_and_others_are_as_they_were() -> None:
    logger = logging.Logger("root")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
    logger.addHandler(handler)
    add_particulars(logger)

    def line(name: str) -> str:
        record = logging.LogRecord(name, logging.INFO, "", 0, "lost", (), None)
        record.why = "a b"
        return handler.format(record)

    assert line("sluice.worker") == "[INFO] lost why='a b'"
    assert line("celery.worker") == "[INFO] lost"
